-- Delete keys of a group that has been taken off the list, and tell the clients that wait for its tasks.
-- KEYS any keys of the group, but the five
-- ARGV per key: the id whose task key it is, '' for a key of another kind
-- Returns how many were deleted.
local deleted = 0
for i, key in ipairs(KEYS) do
  local channels = ARGV[i] ~= '' and fields_of(key, 'w')[1]
  deleted = deleted + call('DEL', key)
  announce(key, channels, ARGV[i])
end
return deleted
