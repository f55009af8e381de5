-- Set a group back that is ahead of its stream, because of XGROUP SETID or XCLAIM LASTID: it would never get what is
-- added from now on.
-- KEYS a live stream of the group, meta
-- ARGV group
-- Returns 1 if it was set back. A paused group is where it should be.
local stream, group = KEYS[1], ARGV[1]
if paused_at(KEYS[2], group) then return 0 end
local last = field(call('XINFO', 'STREAM', stream), 'last-generated-id')
local delivered = position(stream, group)
if not delivered or not is_later(delivered, last) then return 0 end
allow_writes(stream, group)
call('XGROUP', 'SETID', stream, group, last)
return 1
