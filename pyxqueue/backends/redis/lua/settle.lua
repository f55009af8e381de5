-- Apply settlements; only those of the current holder are accepted. `settle_done` does the usual ones.
-- KEYS the five keys of the group, meta, then per item its task key, its record key if the task key outlives the record
--   (a failure, or a record that is kept for less than ids are), and the task keys of its follow-ups
-- ARGV group, history limit, number of items, the consumer that has most of them, the first and the last of their
--   entries, the id behind the last ('' if there is none), then per item:
--   entry, consumer, id, raw ('1' if it is not a message), verdict, delay in ms or reason, record ttl in ms,
--   number of record values, record values, number of follow-ups, then per follow-up: id, delay, number of values,
--   values
-- Returns 1 or 0 per item. A message is written to its next place before it leaves the stream, so that nothing is lost
-- if Redis refuses a write (of an entry, where a stream has no ids left). It works although Redis is out of memory.
local keys, group, history, now = slice(KEYS, 1, 5), ARGV[1], tonumber(ARGV[2]), now_ms()
local items, sender, first, last, behind = tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local stream, meta, results, key, arg = keys[STREAM], KEYS[6], {}, 7, 8

-- The holders and the fields of all entries, in two looks. What they leave out, because entries of others lie between,
-- is looked up alone.
local holders, fields_of_entry = {}, {}
for _, row in ipairs(call('XPENDING', stream, group, first, last, items, sender)) do
  holders[row[1]] = sender
end
local rows = call('XRANGE', stream, first, last, 'COUNT', items)
for _, row in ipairs(rows) do fields_of_entry[row[1]] = row[2] end

local function holder_of(entry)
  return holders[entry] or holder(keys, group, entry)
end

local function fields_at(entry)
  return fields_of_entry[entry] and unpacked(fields_of_entry[entry]) or read(stream, entry)
end

-- The entries that leave the stream. All go at once, also if the script stops at a later item.
local leaving, are_rows = {}, true
local function leaves(entry)
  leaving[#leaving + 1] = entry
  are_rows = are_rows and fields_of_entry[entry] ~= nil
  holders[entry] = '' -- a second settlement of it is refused
end

-- known: the fields `w` and `cancel` of the task
local function apply(task, apart, entry, consumer, id, raw, verdict, detail, ttl, record, known)
  local again = verdict == 'retry' or verdict == 'defer'
  if verdict == 'fail' then check(keys, FAILED) end
  if again and tonumber(detail) > 0 then check_delayed(keys) end
  local fields = fields_at(entry)
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
    end_cancelled(keys, task, id, fields, history, now, consumer, known)
  elseif again then
    if fields then
      put_again(keys, task, id, fields, tonumber(detail), next_ms(), raw)
    else
      end_gone(keys, meta, group, task, id, now)
    end
  elseif verdict == 'fail' and not fields then -- its message is gone: there is nothing to keep
    local note = {'_state', '4'}
    note_failure(meta, group, end_task(keys, task, id, {}, 'history', note, record, ttl, history, now, apart, known))
  elseif verdict == 'fail' then
    end_task(keys, task, id, fields, 'failed', {'_reason', detail}, record, ttl, history, now, apart, known)
  else
    local state = field(record, 'state')
    local note = {'_state', state}
    local ended = end_task(keys, task, id, fields, 'history', note, record, ttl, history, now, apart, known)
    if state == '4' then note_failure(meta, group, ended) end
  end
  leaves(entry)
end

local function settle_next()
  local entry, consumer, id, raw, verdict, detail, ttl = unpack(ARGV, arg, arg + 6)
  local size = tonumber(ARGV[arg + 7])
  local record = slice(ARGV, arg + 8, size)
  local task, apart = KEYS[key], nil
  if verdict == 'fail' or verdict == 'done' and tonumber(ttl) < DEDUPE_MS then
    key = key + 1
    apart = KEYS[key]
  end
  local accepted = holder_of(entry) == consumer
  local at, own, channels, cancel
  if accepted then at, own, channels, cancel = unpack(fields_of(task, 'at', 'e', 'w', 'cancel')) end
  local known = {channels, cancel}
  if accepted and is_copy(keys, group, at, own, entry) then
    leaves(entry)
    accepted = false
  end
  arg, key = arg + 8 + size, key + 1
  local follow_ups = tonumber(ARGV[arg])
  arg = arg + 1

  if follow_ups == 0 then
    if accepted then apply(task, apart, entry, consumer, id, raw == '1', verdict, detail, ttl, record, known) end
  else
    all_or_nothing(function()
      for _ = 1, follow_ups do
        local count = tonumber(ARGV[arg + 2])
        if accepted and call('EXISTS', KEYS[key]) == 0 then
          put_new(keys, KEYS[key], ARGV[arg], slice(ARGV, arg + 3, count), tonumber(ARGV[arg + 1]), next_ms())
        end
        arg, key = arg + 3 + count, key + 1
      end
      if accepted then apply(task, apart, entry, consumer, id, raw == '1', verdict, detail, ttl, record, known) end
    end)
  end
  results[#results + 1] = accepted and 1 or 0
end

allow_writes(stream, group)
local done, reason = pcall(function()
  while arg <= #ARGV do settle_next() end
end)
remove_settled(stream, group, leaving, are_rows and #leaving == #rows, first, behind)
if not done then error(reason, 0) end
return results
