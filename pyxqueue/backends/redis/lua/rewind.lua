-- Set a group back that is ahead of its stream, because of XGROUP SETID or XCLAIM LASTID: it would never get what is
-- added from now on.
-- KEYS a live stream of the group
-- ARGV group
-- Returns 1 if it was set back.
local stream, group = KEYS[1], ARGV[1]
local last = field(call('XINFO', 'STREAM', stream), 'last-generated-id')

local function is_ahead(delivered)
  local ms, sequence = string.match(delivered, '^(%d+)%-(%d+)$')
  local last_ms, last_sequence = string.match(last, '^(%d+)%-(%d+)$')
  return below(last_ms, ms) or last_ms == ms and below(last_sequence, sequence)
end

for _, info in ipairs(call('XINFO', 'GROUPS', stream)) do
  if field(info, 'name') == group and is_ahead(field(info, 'last-delivered-id')) then
    allow_writes(stream, group)
    call('XGROUP', 'SETID', stream, group, last)
    return 1
  end
end
return 0
