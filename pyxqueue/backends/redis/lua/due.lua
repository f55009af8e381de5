-- Which delayed messages are due by the server's clock.
-- KEYS the keys of the group, timetable
-- ARGV group, limit
-- Returns the ms until the next look (-1 if nothing is delayed), the ms until the next schedule is due (-1 if there is
-- none), 1 if a gate has room and a line, then the ids that are due. What cannot be an id is
-- removed: another program has put it there.
local now = int(now_ms())
local due = call('ZRANGEBYSCORE', KEYS[DELAYED], '-inf', now, 'LIMIT', 0, ARGV[2])
local later = call('ZRANGEBYSCORE', KEYS[DELAYED], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local wait, ids, has_turns = -1, {}, 0
if #due == tonumber(ARGV[2]) then
  wait = 0
elseif later[2] and tonumber(later[2]) < 2 ^ 53 then
  wait = math.max(0, later[2] - next_ms())
end
for _, id in ipairs(due) do
  if #id <= 64 and string.find(id, '^[%w_.-]+$') then
    ids[#ids + 1] = id
  elseif id == TURN then
    has_turns = 1
  else
    call('ZREM', KEYS[DELAYED], id)
  end
end
local first, tick = try_call('ZRANGE', KEYS[FIRST_TASK], 0, 0, 'WITHSCORES'), -1
if first[2] and tonumber(first[2]) < 2 ^ 53 then tick = math.max(0, first[2] - now) end
return {wait, tick, has_turns, unpack(ids)}
