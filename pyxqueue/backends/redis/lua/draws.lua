-- Which tasks are to be drawn from fair lines after a claim, so that twice as many are drawn and not claimed as it has
-- taken.
-- KEYS the keys of the group
-- ARGV per class of which it has taken some: the place to which it comes back, how many
-- Returns the tasks as they stand in their lines; `admit` draws them.
local keys, found = slice(KEYS, 1, FIRST_TASK - 1), {}
check_gates(keys)
for arg = 1, #ARGV, 2 do
  local class, taken = ARGV[arg], tonumber(ARGV[arg + 1])
  if #found < HEADS and #heads_of(keys, FAIR .. class, 1) > 0 then
    local count = math.min(2 * taken - fair.unclaimed(keys, class), HEADS - #found)
    for _, head in ipairs(count > 0 and heads_of(keys, FAIR .. class, count) or {}) do found[#found + 1] = head end
  end
end
return found
