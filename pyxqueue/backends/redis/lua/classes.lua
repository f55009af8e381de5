-- Which priority classes are in use in queues, and whether task names are paused there.
-- KEYS the meta hash of each queue
-- ARGV group
-- Returns the time in ms, then the two fields of each.
local found = {now_ms()}
for number, meta in ipairs(KEYS) do found[number + 1] = call('HMGET', meta, 'classes', 'paused_tasks:' .. ARGV[1]) end
return found
