-- Read schedules.
-- KEYS the key of each schedule
-- Returns per schedule its fields, none if there is no schedule.
local found = {}
for item, key in ipairs(KEYS) do
  local fields = try_call('HGETALL', key)
  found[item] = fields.err and {} or fields
end
return found
