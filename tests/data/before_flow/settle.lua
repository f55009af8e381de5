-- Put in front of every script.
local call, try_call = redis.call, redis.pcall
-- The keys of one group always come in this order, then the task keys the script needs.
local NEW, AGAIN, DELAYED, PARKED, HISTORY, FAILED, NOTES = 1, 2, 3, 4, 5, 6, 7
local FIRST_TASK = 8
local MAX_FIELDS = 4000 -- Lua's unpack gives up near 8,000 values
local MAX_PACKED = 200000 -- values in one packed field; what has more was not written by us
local DEDUPE_MS = 3600000
local PLACES = {n = NEW, a = AGAIN, d = PARKED, h = HISTORY, f = FAILED} -- by the first letter of a task's value
local IS_LIVE = {n = true, a = true} -- ready or in flight
local LAST = '18446744073709551615' -- the largest number in the id of an entry
local MAX_WAIT = 86400000 -- ms for which the channels of waiters are kept where no record is stored yet
local MAX_WAITING = 60000 -- bytes of channel names that are kept with one task

local function now_ms()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The same, rounded up, so that a delay that begins now does not end early.
local function next_ms()
  local time = call('TIME')
  return time[1] * 1000 + math.ceil(time[2] / 1000)
end

-- Let this script write although Redis is out of memory. Redis then refuses a script whose first write needs memory;
-- this write needs none. For scripts that make room, end tasks or look; never for those that accept new work.
local function allow_writes(stream, group)
  call('XACK', stream, group, '0-0')
end

-- Lua would write a large number as 1.7e+12.
local function int(number)
  return string.format('%.0f', number)
end

local function slice(list, from, count)
  if count <= MAX_FIELDS then return {unpack(list, from, from + count - 1)} end
  local part = {}
  for i = from, from + count - 1 do part[#part + 1] = list[i] end
  return part
end

-- The value of a field, or nil. If a name occurs twice, its last value counts, as it does in Python.
local function field(fields, name)
  for i = #fields - 1, 1, -2 do
    if fields[i] == name then return fields[i + 1] end
  end
  return nil
end

local function remove_field(fields, name)
  local count, kept = #fields, 0
  for i = 1, count, 2 do
    if fields[i] ~= name then
      kept = kept + 2
      fields[kept - 1], fields[kept] = fields[i], fields[i + 1]
    end
  end
  for i = count, kept + 1, -1 do fields[i] = nil end
end

local function set_field(fields, name, value)
  for i = #fields - 1, 1, -2 do
    if fields[i] == name then
      fields[i + 1] = value
      return
    end
  end
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end

local function count_up(fields, name, start)
  set_field(fields, name, int((tonumber(field(fields, name)) or start) + 1))
end

-- Names and values as one text: each after its length and a colon.
local function pack(values)
  local parts = {}
  for i = 1, #values do parts[i] = #values[i] .. ':' .. values[i] end
  return table.concat(parts)
end

-- An entry with more fields than Lua can pass on is stored as one field. Another program may have written such a field:
-- one that `pack` would not write stays as it is.
local function unpacked(fields)
  if #fields ~= 2 or fields[1] ~= 'packed' then return fields end
  local text, values, at = fields[2], {}, 1
  while at <= #text do
    local digits = string.match(string.sub(text, at, at + 10), '^(%d+):')
    local first = digits and at + #digits + 1
    local last = digits and first + tonumber(digits) - 1
    if not digits or last > #text or #values == MAX_PACKED then return fields end
    values[#values + 1] = string.sub(text, first, last)
    at = last + 1
  end
  return #values > 0 and #values % 2 == 0 and values or fields
end

-- Whether a text may be the id of a stream entry: Redis refuses numbers beyond 64 bits.
local function entry_id(text)
  local ms, sequence = string.match(text, '^(%d+)%-(%d+)$')
  return ms and (#ms < 20 or #ms == 20 and ms <= LAST) and (#sequence < 20 or #sequence == 20 and sequence <= LAST)
end

-- The fields of one stream entry, or nil when there is none.
local function read(stream, entry)
  if not entry_id(entry) then return nil end
  local found = call('XRANGE', stream, entry, entry)
  return found[1] and unpacked(found[1][2])
end

-- Create an empty stream again if it has no ids left, because another program has used the last one.
local function renew(stream)
  if call('TYPE', stream).ok ~= 'stream' or call('XLEN', stream) > 0 then return end
  if field(call('XINFO', 'STREAM', stream), 'last-generated-id') ~= LAST .. '-' .. LAST then return end
  local groups = call('XINFO', 'GROUPS', stream)
  call('DEL', stream)
  for _, group in ipairs(groups) do
    call('XGROUP', 'CREATE', stream, field(group, 'name'), '0', 'MKSTREAM')
  end
end

local function append(stream, fields)
  if #fields > MAX_FIELDS then fields = {'packed', pack(fields)} end
  local entry = try_call('XADD', stream, '*', unpack(fields))
  if type(entry) == 'string' then return entry end
  renew(stream)
  return call('XADD', stream, '*', unpack(fields))
end

-- Add a message to the history, which keeps `limit` entries, or all if there is no limit. If the history cannot take
-- it (another program has put something else at its key, or has used up its ids), the task has ended all the same.
-- Returns the entry, or '' if there is none.
local function remember(history, fields, limit)
  if #fields > MAX_FIELDS then fields = {'packed', pack(fields)} end
  local entry
  if limit then
    entry = try_call('XADD', history, 'MAXLEN', limit, '*', unpack(fields))
  else
    entry = try_call('XADD', history, '*', unpack(fields))
  end
  return type(entry) == 'string' and entry or ''
end

-- The holder of an entry of a live stream, and the ms since its claim or its last extension, or nil. With min_idle:
-- only if these are at least so many.
local function holder(stream, group, entry, min_idle)
  if not entry_id(entry) then return nil end
  local found
  if min_idle then
    found = call('XPENDING', stream, group, 'IDLE', min_idle, entry, entry, 1)
  else
    found = call('XPENDING', stream, group, entry, entry, 1)
  end
  if found[1] then return found[1][2], found[1][3] end
end

-- Remove entries whose tasks were settled. To trim is cheaper than to delete, if they are exactly the first ones of the
-- stream. are_all: whether they are all entries from `first` up to `behind`, which is '' if there is no such id.
local function remove_settled(stream, group, entries, are_all, first, behind)
  if #entries == 0 then return end
  call('XACK', stream, group, unpack(entries))
  if are_all and #entries > 1 and behind ~= '' and call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1] == first then
    call('XTRIM', stream, 'MINID', behind)
  else
    call('XDEL', stream, unpack(entries))
  end
end

-- A number of ms, or nil for anything else that another program may have written: Redis would not work with it.
local function ms(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

-- Tell every client that waits for this task to look again. Nothing is published on channels of other queues.
-- key: any key of the group but the first stream, which has no prefix.
local function announce(key, channels, id)
  if not channels then return end
  channels = string.sub(channels, -2 * MAX_WAITING)
  local ours = string.match(key, '^%b{}:') .. 'wake:'
  for channel in string.gmatch(channels, '[^,]+') do
    if string.sub(channel, 1, #ours) == ours then call('PUBLISH', channel, id) end
  end
end

-- Some fields of a hash. If another program has put something else at its key, that is deleted, so that it cannot
-- stop a script half way.
local function fields_of(key, ...)
  local found = try_call('HMGET', key, ...)
  if found.err then
    call('DEL', key)
    return {}
  end
  return found
end

-- A task as its value describes it: the place and the entry of its message; `more` if something about it stands
-- elsewhere (its notes, or the record of an ended one); of an ended one the time, the ttl and the state, as texts.
-- An empty table for what is not the value of a task.
local function parse(text)
  local place, more, entry = string.match(text, '^([nadhf])(%+?)([%d-]*)')
  if not place then return {} end
  local ended, ttl, state
  if place == 'h' or place == 'f' then
    ended, ttl, state = string.match(text, '^ (%d+) (%d+) (%d)', 1 + #place + #more + #entry)
  end
  return {text = text, place = place, more = more == '+', entry = entry, ended = ended, ttl = ttl, state = state}
end

-- The task at a key; an empty table if there is none. What another program has put there is dealt with as above.
local function task_at(key)
  local text = try_call('GET', key)
  if type(text) == 'table' then
    call('DEL', key)
    text = false
  end
  return text and parse(text) or {}
end

-- Say where the message of a task is that has not ended.
local function set_place(key, place, more, entry)
  call('SET', key, place .. (more and '+' or '') .. entry)
end

-- Some notes about a task that has not ended. They are in one hash of the group: what is usual needs none.
local function notes_of(keys, id, ...)
  local names = {...}
  for i, name in ipairs(names) do names[i] = name .. ':' .. id end
  return fields_of(keys[NOTES], unpack(names))
end

local function drop_notes(keys, id)
  try_call('HDEL', keys[NOTES], 'waiters:' .. id, 'cancel:' .. id, 'progress:' .. id, 'started:' .. id)
end

-- Stop the script, before its first write, if a key of the group is of another type. Each is checked once a call.
local sound = {}
local function check(keys, place)
  local key = keys[place]
  if sound[key] then return end
  local found = call('TYPE', key).ok
  if found ~= 'none' and found ~= (place == DELAYED and 'zset' or 'stream') then
    error('WRONGTYPE ' .. key .. ' is a ' .. found .. ', put there by another program: rename or delete it')
  end
  sound[key] = true
end

local function check_delayed(keys)
  check(keys, PARKED)
  check(keys, DELAYED)
end

-- Check that a message can come back.
local function check_again(keys, delay)
  if delay > 0 then check_delayed(keys) else check(keys, AGAIN) end
end

-- Tell the supervisors if the next message to be due is this one: they may sleep until a later moment. Where an ACL
-- forbids that, they find it when they look by themselves.
local function hasten(delayed, id, delay)
  if call('ZRANK', delayed, id) == 0 then try_call('PUBLISH', delayed, int(delay)) end
end

-- Add a message that comes back. Its entry takes its id from the stream of new messages, so that fencing tokens,
-- which are made of the ids, grow from claim to claim, whichever streams the entries are in.
local function come_back(keys, fields)
  local entry = append(keys[NEW], {'', ''})
  call('XDEL', keys[NEW], entry)
  if #fields > MAX_FIELDS then fields = {'packed', pack(fields)} end
  local added = try_call('XADD', keys[AGAIN], entry, unpack(fields))
  return type(added) == 'string' and added or append(keys[AGAIN], fields) -- another program has added a later one
end

-- Make a message delayed, or ready if there is no delay: at `place`, 'n' or 'a'. The task key is written last: an
-- error before that must not leave an id that is known but has no message. raw: the entry is not a message, so its
-- fields stay as they are.
local function put(keys, key, id, fields, delay, now, raw, place, more)
  local entry
  if delay > 0 then
    if not raw then set_field(fields, 'due', int(now + delay)) end
    place, entry = 'd', append(keys[PARKED], fields)
    call('ZADD', keys[DELAYED], int(now + delay), id)
  elseif place == 'a' then
    if not raw then set_field(fields, '_since', int(now)) end
    entry = come_back(keys, fields)
  else
    entry = append(keys[NEW], fields)
  end
  set_place(key, place, more, entry)
  if delay > 0 then hasten(keys[DELAYED], id, delay) end
  return keys[PLACES[place]], entry
end

-- What `put_new` has put since `all_or_nothing` began: stream, entry, task key, delayed set and id of each.
local news = {}

-- Put a message whose id is not known.
local function put_new(keys, key, id, fields, delay, now)
  if delay > 0 then check_delayed(keys) end
  table.insert(fields, 1, int(now))
  table.insert(fields, 1, 'enqueued')
  local stream, entry = put(keys, key, id, fields, delay, now, false, 'n')
  news[#news + 1] = {stream, entry, key, keys[DELAYED], id}
end

-- Run an action that puts several messages. If Redis refuses one of the writes (an entry, where a stream has no ids
-- left), what `put_new` has put is removed again.
local function all_or_nothing(action)
  news = {}
  local done, reason = pcall(action)
  if done then return end
  for _, one in ipairs(news) do
    call('XDEL', one[1], one[2])
    call('DEL', one[3])
    call('ZREM', one[4], one[5])
  end
  error(reason, 0)
end

-- A task whose message has no id is known by the id of its first entry: note that in the message before it moves.
local function keep_id(fields, id)
  if field(fields, 'id') ~= id then set_field(fields, '_id', id) end
end

-- Put a message that was in flight back. Its progress is cleared.
local function put_again(keys, key, task, id, fields, delay, now, raw)
  keep_id(fields, id)
  put(keys, key, id, fields, delay, now, raw, 'a', task.more)
  if task.more then
    call('HDEL', keys[NOTES], 'progress:' .. id)
    announce(keys[DELAYED], notes_of(keys, id, 'waiters')[1], id)
  end
end

-- A record is its state, a space, and names and values as `pack` writes them. This one is made by the store: with the
-- attempt of the message. Another program may have written the message: anything else there is left out, and read as 1.
local function with_attempt(record, fields)
  local attempt = ms(field(fields, 'attempt'))
  if not attempt or attempt == 1 or attempt >= 2 ^ 31 then return record end
  return record .. pack({'attempt', int(attempt)})
end

-- The progress comes before the other names: that of the record counts, if it has one.
local function with_progress(record, progress)
  return string.sub(record, 1, 2) .. pack({'progress', progress}) .. string.sub(record, 3)
end

-- End a task: move the message to the history or to the failed tasks, store the record, tell the clients that wait.
-- task: as `task_at` has found it. apart: the key of the record if the task key outlives it, so that the record expires
-- by itself. history: its limit; nil for none. mark: {name, value}, added to the message together with the time.
-- Returns the new entry, or ''.
local function end_task(keys, key, task, id, fields, place, mark, record, ttl, history, now, apart)
  local entry, time, channels, progress = '', int(now), nil, nil
  if task.more and not task.ended then
    channels, progress = unpack(notes_of(keys, id, 'waiters', 'progress'))
    drop_notes(keys, id)
  end
  if fields and (place == 'f' or not history or history > 0) then
    keep_id(fields, id)
    local count = #fields
    fields[count + 1], fields[count + 2], fields[count + 3], fields[count + 4] = mark[1], mark[2], '_ended', time
    entry = place == 'f' and append(keys[FAILED], fields) or remember(keys[HISTORY], fields, history)
  end
  if progress then record = with_progress(record, progress) end
  local value = place .. (apart and '+' or '') .. entry .. ' ' .. time .. ' ' .. ttl .. ' '
  if apart then
    call('SET', apart, record, 'PX', int(math.max(1, tonumber(ttl))))
    record = string.sub(record, 1, 2)
  end
  if place == 'h' then
    call('SET', key, value .. record, 'PX', tonumber(ttl) > DEDUPE_MS and ttl or DEDUPE_MS)
  else
    call('SET', key, value .. record)
  end
  announce(keys[DELAYED], channels, id)
  return entry
end

-- Note the newest failure in the history: a list of failures starts there, and leaves the history out if there is none.
local function note_failure(meta, group, entry)
  if entry ~= '' then call('HSET', meta, 'failure:' .. group, entry) end
end

-- consumer: the holder, '' for a task that waits
local function end_cancelled(keys, key, task, id, fields, history, now, consumer)
  local record = consumer == '' and '6 ' or '6 ' .. pack({'worker', consumer})
  if fields then record = with_attempt(record, fields) end
  end_task(keys, key, task, id, fields, 'h', {'_state', '6'}, record, '86400000', history, now)
end

-- Whether another program has removed a waiting message from its stream, by XDEL or XTRIM.
local function is_gone(keys, group, task)
  if not task.place or not entry_id(task.entry) then return false end
  local stream = keys[PLACES[task.place]]
  if IS_LIVE[task.place] then return not holder(stream, group, task.entry) and not read(stream, task.entry) end
  return task.place == 'd' and not read(stream, task.entry)
end

-- Such a task will never run: it ends as a failure, and the history keeps only its id.
local function end_gone(keys, meta, group, key, task, id, now)
  allow_writes(keys[NEW], group)
  call('ZREM', keys[DELAYED], id)
  local failure = '["MessageGone","its message is gone: it was taken out of the stream by hand",""]'
  local record = '4 ' .. pack({'error', failure})
  note_failure(meta, group, end_task(keys, key, task, id, {}, 'h', {'_state', '4'}, record, '86400000', nil, now))
end

-- Whether another program has written a copy of a message into a live stream: its task has another entry, or has ended.
-- As with `enqueue`, a known id changes nothing: the copy is removed.
local function is_copy(keys, group, task, place, entry)
  return task.place and (task.place ~= place or task.entry ~= entry) and not is_gone(keys, group, task)
end


-- Apply settlements; only those of the current holder are accepted. `settle_done` does the usual ones.
-- KEYS the seven keys of the group, meta, then per item its task key, its record key if the task key outlives the
--   record (a failure, or a record that is kept for less than ids are), and the task keys of its follow-ups
-- ARGV group, history limit, number of items, the consumer that has most of them, then for the new ones and for those
--   that came back: the first and the last of their entries, the id behind the last ('' if there is none; all three
--   '' if there are none of that kind), then per item: place, entry, consumer, id, raw ('1' if it is not a message),
--   verdict, delay in ms or reason, record, its ttl in ms, made ('1' for a record that gets the attempt of the
--   message), number of follow-ups, then per follow-up: id, delay, number of values, values
-- Returns 1 or 0 per item. A message is written to its next place before it leaves the stream, so that nothing is
-- lost if Redis refuses a write (of an entry, where a stream has no ids left). It works although Redis is out of
-- memory.
local keys, meta, group, history = slice(KEYS, 1, FIRST_TASK - 1), KEYS[FIRST_TASK], ARGV[1], tonumber(ARGV[2])
local items, sender, now, soon = tonumber(ARGV[3]), ARGV[4], now_ms(), next_ms() -- one time for all that it delays
local results, next_key, arg = {}, FIRST_TASK + 1, 11

-- The holders and the fields of all entries of a live stream, in two looks. What they leave out, because entries of
-- others lie between, is looked up alone.
local function look(stream, first, last, behind)
  local live = {stream = stream, first = first, behind = behind, holders = {}, fields = {}, rows = {}, leaving = {}}
  live.are_rows = true
  if first == '' then return live end
  for _, row in ipairs(call('XPENDING', stream, group, first, last, items, sender)) do live.holders[row[1]] = sender end
  live.rows = call('XRANGE', stream, first, last, 'COUNT', items)
  for _, row in ipairs(live.rows) do live.fields[row[1]] = row[2] end
  return live
end

local lives = {n = look(keys[NEW], unpack(ARGV, 5, 7)), a = look(keys[AGAIN], unpack(ARGV, 8, 10))}

local function fields_at(live, entry)
  return live.fields[entry] and unpacked(live.fields[entry]) or read(live.stream, entry)
end

-- The entries that leave their stream. All go at once, also if the script stops at a later item.
local function leaves(live, entry)
  live.leaving[#live.leaving + 1] = entry
  live.are_rows = live.are_rows and live.fields[entry] ~= nil
  live.holders[entry] = '' -- a second settlement of it is refused
end

-- one: the item; task: as `task_at` has found it
local function apply(one, task, apart)
  local again = one.verdict == 'retry' or one.verdict == 'defer'
  local delay = again and tonumber(one.detail)
  if one.verdict == 'fail' then check(keys, FAILED) end
  if again then check_again(keys, delay) end
  local fields = fields_at(one.live, one.entry)
  if again and fields and not one.raw then
    if one.verdict == 'retry' then
      count_up(fields, 'attempt', 1)
      remove_field(fields, 'redelivered')
    elseif delay > 0 then
      count_up(fields, 'deferrals', 0)
    end
    remove_field(fields, 'due')
  end
  if again and task.more and notes_of(keys, one.id, 'cancel')[1] then -- cancelled meanwhile
    end_cancelled(keys, one.key, task, one.id, fields, history, now, one.consumer)
  elseif again and fields then
    put_again(keys, one.key, task, one.id, fields, delay, soon, one.raw)
  elseif again then
    end_gone(keys, meta, group, one.key, task, one.id, now)
  else
    local record = one.made and fields and with_attempt(one.record, fields) or one.record
    local state = string.sub(record, 1, 1)
    local place, mark = 'h', {'_state', state}
    if one.verdict == 'fail' and fields then
      place, mark = 'f', {'_reason', one.detail}
    elseif one.verdict == 'fail' then -- its message is gone: there is nothing to keep
      fields = {}
    end
    local ended = end_task(keys, one.key, task, one.id, fields, place, mark, record, one.ttl, history, now, apart)
    if place == 'h' and state == '4' then note_failure(meta, group, ended) end
  end
  leaves(one.live, one.entry)
end

local function settle_next()
  local one = {live = lives[ARGV[arg]], entry = ARGV[arg + 1], consumer = ARGV[arg + 2], id = ARGV[arg + 3]}
  one.key, one.raw, one.verdict, one.detail = KEYS[next_key], ARGV[arg + 4] == '1', ARGV[arg + 5], ARGV[arg + 6]
  one.record, one.ttl, one.made = ARGV[arg + 7], ARGV[arg + 8], ARGV[arg + 9] == '1'
  local apart, task = nil, nil
  if one.verdict == 'fail' or one.verdict == 'done' and tonumber(one.ttl) < DEDUPE_MS then
    next_key = next_key + 1
    apart = KEYS[next_key]
  end
  local accepted = (one.live.holders[one.entry] or holder(one.live.stream, group, one.entry)) == one.consumer
  if accepted then
    task = task_at(one.key)
    if is_copy(keys, group, task, ARGV[arg], one.entry) then
      leaves(one.live, one.entry)
      accepted = false
    end
  end
  local follow_ups = tonumber(ARGV[arg + 10])
  arg, next_key = arg + 11, next_key + 1

  if follow_ups == 0 then
    if accepted then apply(one, task, apart) end
  else
    all_or_nothing(function()
      for _ = 1, follow_ups do
        local count = tonumber(ARGV[arg + 2])
        if accepted and call('EXISTS', KEYS[next_key]) == 0 then
          put_new(keys, KEYS[next_key], ARGV[arg], slice(ARGV, arg + 3, count), tonumber(ARGV[arg + 1]), soon)
        end
        arg, next_key = arg + 3 + count, next_key + 1
      end
      if accepted then apply(one, task, apart) end
    end)
  end
  results[#results + 1] = accepted and 1 or 0
end

allow_writes(keys[NEW], group)
local done, reason = pcall(function()
  while arg <= #ARGV do settle_next() end
end)
for _, live in pairs(lives) do
  local are_all = live.are_rows and #live.leaving == #live.rows
  remove_settled(live.stream, group, live.leaving, are_all, live.first, live.behind)
end
if not done then error(reason, 0) end
return results
