-- Which schedules are due by the server's clock.
-- KEYS timetable
-- ARGV limit, how many of them are left out at the front
-- Returns the time, the ms until the next look at the others (-1 if there is none), then the ids that are due, the
-- longest due first. What cannot be an id is removed: another program has put it there.
local now = now_ms()
local due = call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'LIMIT', ARGV[2], ARGV[1])
local later = call('ZRANGEBYSCORE', KEYS[1], '(' .. int(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local left, ids = -1, {}
if call('ZCOUNT', KEYS[1], '-inf', int(now)) > ARGV[2] + #due then
  left = 0
elseif later[2] and tonumber(later[2]) < 2 ^ 53 then
  left = later[2] - now
end
for _, id in ipairs(due) do
  if #id <= 48 and string.find(id, '^[%w_.-]+$') then
    ids[#ids + 1] = id
  else
    call('ZREM', KEYS[1], id)
  end
end
return {int(now), int(left), unpack(ids)}
