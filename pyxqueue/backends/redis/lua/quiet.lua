-- For how long the maintenance of queues has nothing to do. If nothing is there, it costs the same for any number.
-- KEYS of all queues, streams of what is ready or in flight; keys that are there while something else waits; zsets of
-- what is due, by its time
-- ARGV how many of each of the three a queue has
-- Returns the ms for each queue: 0 if there may be something to do now, -1 if nothing is due at any time.
local streams, others, times = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local queues = #KEYS / (streams + others + times)
local behind_streams, behind_others = queues * streams, queues * (streams + others)
local now, left, owner, read, rest = now_ms(), {}, {}, {}, {}
for queue = 1, queues do left[queue] = -1 end
for number, key in ipairs(KEYS) do
  if number <= behind_streams then
    owner[key], read[number], read[behind_streams + number] = math.ceil(number / streams), key, '0'
  else
    rest[#rest + 1] = key
  end
end
local filled = try_call('XREAD', 'COUNT', 1, 'STREAMS', unpack(read)) or {}
for queue = 1, filled.err and queues or 0 do left[queue] = 0 end
for _, one in ipairs(filled) do left[owner[one[1]]] = 0 end
if call('EXISTS', unpack(rest)) == 0 then return left end
for number = behind_streams + 1, behind_others do
  if call('EXISTS', KEYS[number]) == 1 then left[math.ceil((number - behind_streams) / others)] = 0 end
end
for number = behind_others + 1, #KEYS do
  local head, queue = try_call('ZRANGE', KEYS[number], 0, 0, 'WITHSCORES'), math.ceil((number - behind_others) / times)
  local due = head.err and now or tonumber(head[2] or 'inf')
  if due < 2 ^ 53 then
    local ms = math.max(0, due - now)
    left[queue] = left[queue] < 0 and ms or math.min(left[queue], ms)
  end
end
return left
