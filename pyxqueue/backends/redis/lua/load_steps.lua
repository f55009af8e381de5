-- The steps and events of a task.
-- KEYS the keys of the group
-- ARGV id
-- Returns the time (ms, rounded up), then names and values: the names of steps begin with `s`, of events with `e`.
local results, id = {next_ms()}, ARGV[1]
for i, name in ipairs(kept_names(KEYS, id)) do
  if i % 2 == 1 then
    local value = fields_of(KEYS[NOTES], 'step:' .. id .. ':' .. name)[1]
    if value then
      results[#results + 1] = name
      results[#results + 1] = value
    end
  end
end
return results
