-- Makes the ends of tasks earlier, and shortens how long something is kept.
-- KEYS: meta; then the stream of failed tasks of each group.
-- ARGV: how all keys of the queue begin, how many ms earlier; then the prefix of the keys of each group's tasks.
local base, ms = ARGV[1], tonumber(ARGV[2])

local function earlier(text)
  return string.format('%.0f', tonumber(text) - ms)
end

local function keys_of_tasks()
  local found, cursor = {}, '0'
  repeat
    local page = redis.call('SCAN', cursor, 'MATCH', base .. '*', 'COUNT', 1000)
    cursor = page[1]
    for _, key in ipairs(page[2]) do  -- it may come twice
      for _, kind in ipairs({':task:', ':record:', ':result:', ':window:'}) do
        if key:find(kind, #base, true) then found[key] = true end
      end
    end
  until cursor == '0'
  return found
end

-- The end of a task, or of a task of another broker.
local function age_end(key)
  local ended = redis.pcall('HGET', key, 'ended')
  if type(ended) ~= 'table' then
    if ended then redis.call('HSET', key, 'ended', earlier(ended)) end
  elseif key:find(':task:', #base, true) then
    local place, time, rest = redis.call('GET', key):match('^([^ ]*) ([^ ]*) (.*)$')
    if place then
      if time == '' then time = place:match('^.%+*(%d+)') end
      redis.call('SET', key, place .. ' ' .. earlier(time) .. ' ' .. rest, 'KEEPTTL')
    end
  end
end

for key in pairs(keys_of_tasks()) do
  age_end(key)
  local left = redis.call('PTTL', key)
  if left > ms then
    redis.call('PEXPIRE', key, string.format('%.0f', left - ms))
  elseif left > 0 then
    redis.call('DEL', key)
  end
end

-- Failed messages are written again under earlier entries, which say when they failed.
for at = 2, #KEYS do
  local failed, prefix = KEYS[at], ARGV[at + 1]
  local entries = redis.call('XRANGE', failed, '-', '+')
  redis.call('DEL', failed)
  for _, one in ipairs(entries) do
    local entry, fields, values = one[1], one[2], {}
    for place = 1, #fields, 2 do values[fields[place]] = fields[place + 1] end
    local time, number = entry:match('^(%d+)-(%d+)$')
    local moved = earlier(time) .. '-' .. number
    redis.call('XADD', failed, moved, unpack(fields))
    local id = values._id or values.id
    local key = prefix .. (id and id ~= '' and id or entry)
    local known = redis.call('GET', key)
    local rest = known and known:match('^[f+]*' .. entry:gsub('%-', '%%-') .. '(.*)$')
    if rest and (rest == '' or rest:sub(1, 1) == ' ') then  -- its end is earlier already
      redis.call('SET', key, known:match('^[f+]*') .. moved .. rest, 'KEEPTTL')
    end
  end
end
