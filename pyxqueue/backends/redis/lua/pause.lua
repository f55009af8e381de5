-- Pause a group: it moves to the end of all ids in its live streams, so that no read hands out anything, also one that
-- waits already. What is in flight stays with its holders.
-- KEYS the keys of the group, meta
-- ARGV group, the priority classes in use as the caller knows them, '1' to repair only: a group that is not paused
--   stays as it is
-- Returns 1, or 0 if it was paused already. 'GROUPS' if the caller's classes are out of date. An error if there is no
-- such group.
local group, meta = ARGV[1], KEYS[FIRST_TASK]
if (call('HGET', meta, 'classes') or '') ~= ARGV[2] then return 'GROUPS' end
local lives = live_streams(slice(KEYS, 1, FIRST_TASK - 1))
local paused = paused_at(meta, group)
if not paused and ARGV[3] == '1' then return 0 end
if call('HEXISTS', meta, 'group:' .. group) == 0 then return redis.error_reply('NOGROUP it was removed') end
local positions = paused or {}
for _, live in ipairs(lives) do
  local place, stream = unpack(live)
  call('XPENDING', stream, group) -- an error if there is no such group
  local last = position(stream, group)
  if last ~= AT_END then
    positions[place] = last
  elseif not positions[place] then -- another program has moved it there
    positions[place] = field(call('XINFO', 'STREAM', stream), 'last-generated-id')
  end
end
allow_writes(KEYS[NEW], group)
save_paused(meta, group, positions)
for _, live in ipairs(lives) do call('XGROUP', 'SETID', live[2], group, AT_END) end
return paused and 0 or 1
