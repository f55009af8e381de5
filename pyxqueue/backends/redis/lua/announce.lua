-- Note what a supervisor says of itself, and forget those that were silent for a day or are too many.
-- KEYS meta, supervisors, announcements, orders
-- ARGV group, supervisor, for how many ms it holds, text
-- Returns the text of the last order that it was given; '' if there is none, or no such group.
local REMEMBERED_MS, MAX_SUPERVISORS, MOST = 86400000, 1000, 100
local meta, supervisors, announcements, orders = unpack(KEYS)
local group, supervisor, keep, text = unpack(ARGV)

if call('HEXISTS', meta, 'group:' .. group) == 0 then return '' end
for key, command in pairs({[supervisors] = 'ZCARD', [announcements] = 'HLEN', [orders] = 'HLEN'}) do
  if type(try_call(command, key)) == 'table' then call('DEL', key) end -- another program has put it there
end
local now = now_ms()
call('ZADD', supervisors, int(now), supervisor)
call('HSET', announcements, supervisor, keep .. ' ' .. text)

local function forget(names)
  for _, name in ipairs(names) do
    call('ZREM', supervisors, name)
    call('HDEL', announcements, name)
    call('HDEL', orders, name)
  end
end

forget(call('ZRANGEBYSCORE', supervisors, '-inf', int(now - REMEMBERED_MS), 'LIMIT', 0, MOST))
local surplus = call('ZCARD', supervisors) - MAX_SUPERVISORS
if surplus > 0 then forget(call('ZRANGE', supervisors, 0, math.min(surplus, MOST) - 1)) end
return call('HGET', orders, supervisor) or ''
