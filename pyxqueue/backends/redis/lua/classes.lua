-- Which priority classes are in use in queues.
-- KEYS the meta hash of each queue
-- Returns the field of each.
local found = {}
for number, meta in ipairs(KEYS) do found[number] = call('HGET', meta, 'classes') end
return found
