-- End a pause: the group moves back to where it stood, and the consumers that wait are woken.
-- KEYS the keys of the group, meta
-- ARGV group
-- Returns 1, or 0 if it was not paused. An error if there is no such group.
local group, meta = ARGV[1], KEYS[FIRST_TASK]
local paused = paused_at(meta, group)
if not paused then return 0 end
for place in pairs(IS_LIVE) do call('XPENDING', KEYS[PLACES[place]], group) end -- an error if there is no such group
allow_writes(KEYS[NEW], group)
for place in pairs(IS_LIVE) do call('XGROUP', 'SETID', KEYS[PLACES[place]], group, paused[place] or '0-0') end
call('HDEL', meta, 'paused:' .. group)
local woken = try_call('XADD', KEYS[NEW], '*', '', '') -- SETID wakes no consumer
if type(woken) == 'string' then call('XDEL', KEYS[NEW], woken) end
return 1
