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

-- Lua would write a large number as 1.7e+12.
local function int(number)
  return string.format('%.0f', number)
end

-- Which delayed messages are due by the server's clock.
-- KEYS the seven keys of the group
-- ARGV group, limit
-- Returns the ms until the next look (-1 if nothing is delayed), then the ids that are due. What cannot be an id is
-- removed: another program has put it there.
local now = int(now_ms())
local due = call('ZRANGEBYSCORE', KEYS[DELAYED], '-inf', now, 'LIMIT', 0, ARGV[2])
local later = call('ZRANGEBYSCORE', KEYS[DELAYED], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local wait, ids = -1, {}
if #due == tonumber(ARGV[2]) then
  wait = 0
elseif later[2] and tonumber(later[2]) < 2 ^ 53 then
  wait = math.max(0, later[2] - next_ms())
end
for _, id in ipairs(due) do
  if #id <= 64 and string.find(id, '^[%w_.-]+$') then
    ids[#ids + 1] = id
  else
    call('ZREM', KEYS[DELAYED], id)
  end
end
return {wait, unpack(ids)}
