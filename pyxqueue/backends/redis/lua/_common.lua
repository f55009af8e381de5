-- Put in front of every script.
local call, try_call = redis.call, redis.pcall
-- The keys of one group always come in this order, then the task keys the script needs.
local STREAM, DELAYED, PARKED, HISTORY, FAILED = 1, 2, 3, 4, 5
local MAX_FIELDS = 4000 -- Lua's unpack gives up near 8,000 values
local MAX_PACKED = 200000 -- values in one packed field; what has more was not written by us
local DEDUPE_MS = 3600000
local PLACES = {live = STREAM, parked = PARKED, history = HISTORY, failed = FAILED} -- by the field `at` of a task
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

-- The stream in which a task's message is, by the field `at`; nil if that is not a place.
local function stream_of(keys, at)
  return keys[PLACES[at]]
end

-- Lua would write a large number as 1.7e+12.
local function int(number)
  return string.format('%.0f', number)
end

-- Set a version that was never used before, not even by a server that has lost its data since: a producer must notice
-- that its list of groups is out of date.
local function groups_changed(meta)
  local time = call('TIME')
  call('HSET', meta, 'version', time[1] .. '.' .. time[2])
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

-- An entry with more fields than Lua can pass on is stored as one field: each value after its length and a colon.
local function packed(fields)
  local parts = {}
  for i = 1, #fields do parts[i] = #fields[i] .. ':' .. fields[i] end
  return {'packed', table.concat(parts)}
end

-- Another program may have written such a field: one that `packed` would not write stays as it is.
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
  if #fields > MAX_FIELDS then fields = packed(fields) end
  local entry = try_call('XADD', stream, '*', unpack(fields))
  if type(entry) == 'string' then return entry end
  renew(stream)
  return call('XADD', stream, '*', unpack(fields))
end

-- Add a message to the history, which keeps `limit` entries, or all if there is no limit. If the history cannot take
-- it (another program has put something else at its key, or has used up its ids), the task has ended all the same.
-- Returns the entry, or '' if there is none.
local function remember(history, fields, limit)
  if #fields > MAX_FIELDS then fields = packed(fields) end
  local entry
  if limit then
    entry = try_call('XADD', history, 'MAXLEN', limit, '*', unpack(fields))
  else
    entry = try_call('XADD', history, '*', unpack(fields))
  end
  return type(entry) == 'string' and entry or ''
end

-- The holder of an entry, and the ms since its claim or its last extension, or nil. With min_idle: only if these are
-- at least so many.
local function holder(keys, group, entry, min_idle)
  if not entry_id(entry or '') then return nil end
  local found
  if min_idle then
    found = call('XPENDING', keys[STREAM], group, 'IDLE', min_idle, entry, entry, 1)
  else
    found = call('XPENDING', keys[STREAM], group, entry, entry, 1)
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

-- Whether one whole number is less than another, both written without leading zeros: fencing tokens and the ids of
-- entries have more digits than a Lua number holds.
local function below(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

-- Whether the field `started` of a task, the entry that was claimed and when, is about this entry, not an earlier one.
local function started_with(started, entry)
  return started and string.match(started, '^(%d+%-%d+) %d+$') == entry
end

-- A number of ms, or nil for anything else that another program may have written: Redis would not work with it.
local function ms(text)
  return text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
end

-- Whether a record can still be read: when its task ended, and its ttl, as they are stored.
local function is_readable(ended, ttl, now)
  ended, ttl = ms(ended), ms(ttl)
  return ended and ttl and ended + ttl > now
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

-- Some fields of a task. If another program has put something at its key that is not a hash, that is deleted, so that
-- it cannot stop a script half way.
local function fields_of(task, ...)
  local found = try_call('HMGET', task, ...)
  if found.err then
    call('DEL', task)
    return {}
  end
  return found
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

-- Tell the supervisors if the next message to be due is this one: they may sleep until a later moment. Where an ACL
-- forbids that, they find it when they look by themselves.
local function hasten(delayed, id, delay)
  if call('ZRANK', delayed, id) == 0 then try_call('PUBLISH', delayed, int(delay)) end
end

-- Make a message ready, or delayed until it is due. The task key is written last: an error before that must not leave
-- an id that is known but has no message. raw: the entry is not a message, so its fields stay as they are.
local function put(keys, task, id, fields, delay, now, raw)
  if delay > 0 then
    if not raw then set_field(fields, 'due', int(now + delay)) end
    local entry = append(keys[PARKED], fields)
    call('ZADD', keys[DELAYED], int(now + delay), id)
    call('HSET', task, 'at', 'parked', 'e', entry)
    hasten(keys[DELAYED], id, delay)
    return keys[PARKED], entry
  end
  local entry = append(keys[STREAM], fields)
  call('HSET', task, 'at', 'live', 'e', entry)
  return keys[STREAM], entry
end

-- What `put_new` has put since `all_or_nothing` began: stream, entry, task key, delayed set and id of each.
local news = {}

-- Put a message whose id is not known.
local function put_new(keys, task, id, fields, delay, now)
  if delay > 0 then check_delayed(keys) end
  set_field(fields, 'enqueued', int(now))
  local stream, entry = put(keys, task, id, fields, delay, now)
  news[#news + 1] = {stream, entry, task, keys[DELAYED], id}
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

-- Put a message that was in flight to the end of the line. Its progress is cleared.
local function put_again(keys, task, id, fields, delay, now, raw)
  keep_id(fields, id)
  put(keys, task, id, fields, delay, now, raw)
  call('HDEL', task, 'progress')
  announce(keys[DELAYED], call('HGET', task, 'w'), id)
end

-- Note at a key which channel is to be told. Of too many, the oldest are dropped: their clients look again by
-- themselves.
local function watch(keys, group, key, waiting, channel)
  if waiting and string.find(waiting, channel, 1, true) then return end
  if waiting and #waiting > MAX_WAITING then waiting = string.match(string.sub(waiting, -MAX_WAITING), ',(.*)') end
  allow_writes(keys[STREAM], group)
  call('HSET', key, 'w', waiting and waiting .. ',' .. channel or channel)
end

-- A record that the store makes ends with an empty attempt: put the attempt of the message there. Another program may
-- have written the message: anything else there is left out, and read as 1.
local function fill_in_attempt(record, fields)
  local last = #record
  if record[last] ~= '' or record[last - 1] ~= 'attempt' then return end
  local attempt = fields and ms(field(fields, 'attempt'))
  if attempt and attempt < 2 ^ 31 then
    record[last] = int(attempt)
  else
    record[last], record[last - 1] = nil, nil
  end
end

-- End a task: move the message to the history or to the failed tasks, store the record, tell the clients that wait.
-- apart: the key of the record if the task key outlives it, so that the record expires by itself.
-- history: its limit; nil for none. note: {name, value}, added to the message together with the time.
-- known: the fields `w` and `cancel` of the task, if the caller has read them.
-- Returns the new entry, or ''.
local function end_task(keys, task, id, fields, place, note, record, ttl, history, now, apart, known)
  local channels, cancel = unpack(known or fields_of(task, 'w', 'cancel'))
  local entry, time = '', int(now)
  fill_in_attempt(record, fields)
  if fields and (place == 'failed' or not history or history > 0) then
    keep_id(fields, id)
    local count = #fields
    fields[count + 1], fields[count + 2], fields[count + 3], fields[count + 4] = note[1], note[2], '_ended', time
    entry = place == 'failed' and append(keys[FAILED], fields) or remember(keys[HISTORY], fields, history)
  end
  if channels or cancel then call('HDEL', task, 'w', 'cancel') end
  if apart then
    call('HDEL', task, 'value', 'error', 'seal')
    call('DEL', apart)
    call('HSET', apart, unpack(record))
    call('PEXPIRE', apart, ttl)
    record = {'apart', '1', 'state', field(record, 'state')}
  end
  call('HSET', task, 'at', place, 'e', entry, 'ended', time, 'ttl', ttl, unpack(record))
  if place == 'history' then
    call('PEXPIRE', task, tonumber(ttl) > DEDUPE_MS and ttl or DEDUPE_MS)
  end
  announce(keys[DELAYED], channels, id)
  return entry
end

-- Our fields of a hash, flat, however many others another program has put into it; an empty list if there is none.
-- The second value is true if the key is not a hash.
local OURS = {
  'at', 'e', 'w', 'cancel', 'started', 'ended', 'ttl', 'apart', 'v', 'state', 'attempt', 'value', 'serializer', 'seal',
  'error', 'worker', 'progress', 'fence',
}
local function all_of(key)
  local size = try_call('HLEN', key)
  if type(size) == 'table' then return {}, true end
  if size <= 2 * #OURS then return call('HGETALL', key), false end -- which is faster
  local found, all = call('HMGET', key, unpack(OURS)), {}
  for i, name in ipairs(OURS) do
    if found[i] then
      all[#all + 1] = name
      all[#all + 1] = found[i]
    end
  end
  return all, false
end

-- A task's hash together with its record, which may have a key of its own.
local function whole(all, apart)
  if field(all, 'apart') then
    local record = all_of(apart)
    for i = 1, #record do all[#all + 1] = record[i] end
  end
  return all
end

-- Note the newest failure in the history: a list of failures starts there, and leaves the history out if there is none.
local function note_failure(meta, group, entry)
  if entry ~= '' then call('HSET', meta, 'failure:' .. group, entry) end
end

-- consumer: the holder, '' for a task that waits
local function end_cancelled(keys, task, id, fields, history, now, consumer, known)
  local record = {'v', '1', 'state', '6', 'attempt', ''}
  if consumer ~= '' then record = {'v', '1', 'state', '6', 'worker', consumer, 'attempt', ''} end
  end_task(keys, task, id, fields, 'history', {'_state', '6'}, record, '86400000', history, now, nil, known)
end

-- Whether another program has removed a waiting message from its stream, by XDEL or XTRIM.
local function is_gone(keys, group, at, entry)
  if not entry_id(entry or '') then return false end
  if at == 'live' then return not holder(keys, group, entry) and not read(keys[STREAM], entry) end
  return at == 'parked' and not read(keys[PARKED], entry)
end

-- Such a task will never run: it ends as a failure, and the history keeps only its id.
local function end_gone(keys, meta, group, task, id, now)
  allow_writes(keys[STREAM], group)
  call('ZREM', keys[DELAYED], id)
  local failure = '["MessageGone","its message is gone: it was taken out of the stream by hand",""]'
  local record = {'v', '1', 'state', '4', 'error', failure}
  note_failure(meta, group, end_task(keys, task, id, {}, 'history', {'_state', '4'}, record, '86400000', nil, now))
end

-- Make the task key of an entry that was written by hand: it has none until a caller asks for the task.
local function note_foreign(keys, group, task, id)
  if entry_id(id) and read(keys[STREAM], id) then
    allow_writes(keys[STREAM], group)
    try_call('HSET', task, 'at', 'live', 'e', id)
  end
end

-- Whether another program has written a copy of a message into the stream: its task has another entry, or has ended. As
-- with `enqueue`, a known id changes nothing: the copy is removed. at, own: the fields `at` and `e` of the task.
local function is_copy(keys, group, at, own, entry)
  return own and (at ~= 'live' or own ~= entry) and not is_gone(keys, group, at, own)
end
