-- Take a group off the list of groups; what is in it is left for the caller to delete.
-- KEYS meta
-- ARGV group
-- Returns 1, or 0 if there was no such group.
local removed = call('HDEL', KEYS[1], 'group:' .. ARGV[1], 'lease:' .. ARGV[1], 'failure:' .. ARGV[1],
  'paused:' .. ARGV[1], 'paused_tasks:' .. ARGV[1], 'gone:' .. ARGV[1], 'remade:' .. ARGV[1],
  'born:' .. ARGV[1], 'lost:' .. ARGV[1])
groups_changed(KEYS[1])
return removed > 0 and 1 or 0
