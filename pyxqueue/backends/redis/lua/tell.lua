-- Tell the clients that wait for tasks to look again: the group of these tasks has been removed.
-- KEYS the notes of the group
-- ARGV ids
-- Returns how many there were.
for _, id in ipairs(ARGV) do
  announce(KEYS[1], fields_of(KEYS[1], 'waiters:' .. id)[1], id)
end
return #ARGV
