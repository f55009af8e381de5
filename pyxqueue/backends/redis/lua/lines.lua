-- How many tasks wait at each gate.
-- KEYS the keys of the group
-- ARGV where to go on ('' at first)
-- Returns where to go on ('' at the end), then a gate and how many wait there, alternately.
local found, from = {''}, ARGV[1]
check_gates(KEYS)
for _ = 1, HEADS do
  local standing = call('ZRANGEBYLEX', KEYS[LINES], '[' .. from, '+', 'LIMIT', 0, 1)[1]
  if not standing then return found end
  local gate = string.match(standing, '^[^%z]*')
  found[#found + 1] = gate
  found[#found + 1] = call('ZLEXCOUNT', KEYS[LINES], '[' .. gate .. '\0', '(' .. gate .. '\1')
  from = gate .. '\1'
end
found[1] = from
return found
