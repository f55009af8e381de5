-- Apply what was decided about held messages; only the current holder's word counts.
-- KEYS the five keys of the group, meta, then per item its task key, its record key if the task key outlives the record
--   (a failure, or a record that is kept for less than ids are), and the task keys of its follow-ups
-- ARGV group, history limit, then per item:
--   entry, consumer, id, raw ('1' for an entry that is no message), verdict, delay in ms or reason, record ttl in ms,
--   number of record values, record values, number of follow-ups, then per follow-up: id, delay, number of values,
--   values
-- Returns 1 or 0 per item. A message is written to where it goes before it leaves the stream, so that a write that
-- Redis refuses (of an entry, where a stream has no ids left) loses nothing. Memory may be short: finished work is
-- recorded.
local keys, group, history, now = slice(KEYS, 1, 5), ARGV[1], tonumber(ARGV[2]), now_ms()
local meta, answers, key, arg = KEYS[6], {}, 7, 3

-- known: the fields `w` and `cancel` of the task
local function apply(task, apart, entry, id, raw, verdict, detail, ttl, record, known)
  local again = verdict == 'retry' or verdict == 'defer'
  if verdict == 'fail' then check(keys, FAILED) end
  if again and tonumber(detail) > 0 then check_delayed(keys) end
  local fields = read(keys[STREAM], entry)
  if again and fields and not raw then
    if verdict == 'retry' then
      count_up(fields, 'attempt', 1)
      remove_field(fields, 'redelivered')
    elseif tonumber(detail) > 0 then
      count_up(fields, 'deferrals', 0)
    end
    remove_field(fields, 'due')
  end
  if again and known[2] then -- cancelled meanwhile
    finish_cancelled(keys, task, id, fields, history, now, known)
  elseif again then
    if fields then
      put_again(keys, task, id, fields, tonumber(detail), next_ms(), raw)
    else
      finish_gone(keys, meta, group, task, id, now)
    end
  elseif verdict == 'fail' and not fields then -- there is nothing to keep, or to run again
    local note = {'_state', '4'}
    note_failure(meta, group, finish(keys, task, id, {}, 'history', note, record, ttl, history, now, apart, known))
  elseif verdict == 'fail' then
    finish(keys, task, id, fields, 'failed', {'_reason', detail}, record, ttl, history, now, apart, known)
  else
    local state = field(record, 'state')
    local ended = finish(keys, task, id, fields, 'history', {'_state', state}, record, ttl, history, now, apart, known)
    if state == '4' then note_failure(meta, group, ended) end
  end
  redis.call('XACK', keys[STREAM], group, entry)
  redis.call('XDEL', keys[STREAM], entry)
end

allow_writes(keys[STREAM], group)
while arg <= #ARGV do
  local entry, consumer, id, raw, verdict, detail, ttl = unpack(ARGV, arg, arg + 6)
  local size = tonumber(ARGV[arg + 7])
  local record = slice(ARGV, arg + 8, size)
  local task, apart = KEYS[key], nil
  if verdict == 'fail' or verdict == 'done' and tonumber(ttl) < DEDUPE_MS then
    key = key + 1
    apart = KEYS[key]
  end
  local accepted = holder(keys, group, entry) == consumer
  local at, own, channels, cancel
  if accepted then at, own, channels, cancel = unpack(fields_of(task, 'at', 'e', 'w', 'cancel')) end
  local known = {channels, cancel}
  if accepted and is_copy(keys, group, at, own, entry) then
    redis.call('XACK', keys[STREAM], group, entry)
    redis.call('XDEL', keys[STREAM], entry)
    accepted = false
  end
  arg, key = arg + 8 + size, key + 1
  local follow_ups = tonumber(ARGV[arg])
  arg = arg + 1

  if follow_ups == 0 then
    if accepted then apply(task, apart, entry, id, raw == '1', verdict, detail, ttl, record, known) end
  else
    all_or_nothing(function()
      for _ = 1, follow_ups do
        local count = tonumber(ARGV[arg + 2])
        if accepted and redis.call('EXISTS', KEYS[key]) == 0 then
          put_new(keys, KEYS[key], ARGV[arg], slice(ARGV, arg + 3, count), tonumber(ARGV[arg + 1]), next_ms())
        end
        arg, key = arg + 3 + count, key + 1
      end
      if accepted then apply(task, apart, entry, id, raw == '1', verdict, detail, ttl, record, known) end
    end)
  end
  answers[#answers + 1] = accepted and 1 or 0
end
return answers
