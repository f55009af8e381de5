-- End a pause: the group moves back to where it stood, and the consumers that wait are woken.
-- KEYS the keys of the group, meta
-- ARGV group, the priority classes in use as the caller knows them
-- Returns 1, or 0 if it was not paused. 'GROUPS' if the caller's classes are out of date. An error if there is no
-- such group.
local group, meta = ARGV[1], KEYS[FIRST_TASK]
if (call('HGET', meta, 'classes') or '') ~= ARGV[2] then return 'GROUPS' end
local lives = live_streams(slice(KEYS, 1, FIRST_TASK - 1))
local paused = paused_at(meta, group)
if not paused then return 0 end
for _, live in ipairs(lives) do call('XPENDING', live[2], group) end -- an error if there is no such group
allow_writes(KEYS[NEW], group)
for _, live in ipairs(lives) do call('XGROUP', 'SETID', live[2], group, paused[live[1]] or '0-0') end
call('HDEL', meta, 'paused:' .. group)
local woken = try_call('XADD', KEYS[NEW], '*', '', '') -- SETID wakes no consumer
if type(woken) == 'string' then call('XDEL', KEYS[NEW], woken) end
return 1
