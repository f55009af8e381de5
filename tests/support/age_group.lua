-- Makes what a group has stored older: what waits, what is held, and all times that are noted.
-- KEYS: new, delayed, notes, gates, turns, supervisors, expiries, dependents, statistics; then the live streams.
-- ARGV: the name of the group, how many ms older, the prefix of the keys of tasks; then the place of each live stream,
-- and where the group stood in it when it was paused, "" if it is not paused.
local new, delayed, notes, gates, turns = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local supervisors, expiries, dependents, statistics = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local group, ms, prefix = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local function earlier(text, by)
  return string.format('%.0f', tonumber(text) - by)
end

-- Messages that are held: they have been idle for longer.
local function age_held(stream)
  for _, held in ipairs(redis.call('XPENDING', stream, group, '-', '+', 10000)) do
    local idle = string.format('%.0f', math.max(0, held[3] + ms))
    redis.call('XCLAIM', stream, group, held[2], 0, held[1], 'IDLE', idle, 'JUSTID')
  end
end

local function last_delivered(stream)
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local found = {}
    for at = 1, #info, 2 do found[info[at]] = info[at + 1] end
    if found.name == group then return found['last-delivered-id'] end
  end
  error(stream .. ' has no group ' .. group)
end

-- Messages that are ready are written again, in their order, as if they had become ready earlier.
local function age_ready(streams)
  local ready = {}
  for _, one in ipairs(streams) do
    local last = one.paused ~= '' and one.paused or last_delivered(one.stream)
    for _, entry in ipairs(redis.call('XRANGE', one.stream, '(' .. last, '+')) do
      local time, number = entry[1]:match('^(%d+)-(%d+)$')
      table.insert(ready, {
        place = one.place, stream = one.stream, entry = entry[1], fields = entry[2],
        time = tonumber(time), number = tonumber(number),
      })
    end
  end
  table.sort(ready, function(one, other)
    if one.time ~= other.time then return one.time < other.time end
    return one.number < other.number
  end)
  for _, one in ipairs(ready) do
    local fields, ids = one.fields, {}
    for at = 1, #fields, 2 do
      local name, value = fields[at], fields[at + 1]
      if (name == 'enqueued' or name == '_since') and value:find('^%d+$') then fields[at + 1] = earlier(value, ms) end
      if name == 'id' or name == '_id' then ids[name] = at + 1 end
    end
    local id = ids._id and fields[ids._id] or ids.id and fields[ids.id] or ''
    local known = redis.call('GET', prefix .. id) or ''
    if known:gsub('%+', '') ~= one.place .. one.entry then  -- one that was injected, which was known by its entry
      if not ids._id then
        table.insert(fields, '_id')
        table.insert(fields, '')
        ids._id = #fields
      end
      fields[ids._id], id, known = one.entry, one.entry, ''
    end
    redis.call('XDEL', one.stream, one.entry)
    local moved
    if one.place == 'n' then
      moved = redis.call('XADD', new, '*', unpack(fields))
    else  -- its id is of the stream of new messages, as the backend makes it
      moved = redis.call('XADD', new, '*', '', '')
      redis.call('XDEL', new, moved)
      redis.call('XADD', one.stream, moved, unpack(fields))
    end
    redis.call('SET', prefix .. id, one.place .. (known:find('+', 1, true) and '+' or '') .. moved)
  end
end

local function age_scores(key)
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -ms, member) end
end

-- The fields of a hash with a prefix, with `change` applied to their values; nil leaves a value.
local function age_fields(key, beginning, change)
  local flat = redis.call('HGETALL', key)
  for at = 1, #flat, 2 do
    local name, value = flat[at], flat[at + 1]
    if name:sub(1, #beginning) == beginning then
      local changed = change(value, name)
      if changed then redis.call('HSET', key, name, changed) end
    end
  end
end

local streams = {}
for at = 10, #KEYS do
  local number = 4 + 2 * (at - 10)
  table.insert(streams, {stream = KEYS[at], place = ARGV[number], paused = ARGV[number + 1]})
  age_held(KEYS[at])
end
age_ready(streams)
for _, key in ipairs({delayed, turns, supervisors, expiries}) do age_scores(key) end

-- What is noted about debounced tasks: when they are due, and when their first call was.
age_fields(notes, 'unique:', function(value)
  local holder, times = value:match('^(%S*)( .+)$')
  return times and holder .. times:gsub('%-?%d+', function(time) return earlier(time, ms) end)
end)
-- What rates have spent, in microseconds.
age_fields(gates, 'spent:', function(value)
  return (value:gsub('%d+', function(time) return string.format('%.0f', math.max(0, time - 1000 * ms)) end))
end)
-- When suspended tasks are due; a field with a plus says how many children one waits for.
age_fields(dependents, '', function(value, name)
  local counts, due, flow = value:match('^(%-?%d+ %d+ %d+) (%d+) (.*)$')
  if due and due ~= '0' and name:sub(1, 1) ~= '+' then return counts .. ' ' .. earlier(due, ms) .. ' ' .. flow end
end)
return redis.call('EXISTS', statistics)
