-- Store the number of a limit, or of one of its gates, or whether it or a task name is paused, and note the gates that
-- have room and a line because of it.
-- KEYS the keys of the group, meta
-- ARGV group, kind ('limit' if it is set, 'default' if it is declared, 'paused' for a pause), name, number ('' for
--   none), '1' to replace another one, where to go on in the lines ('' at first)
-- Returns where to go on ('' at the end), then the tasks whose turn it is.
local keys = slice(KEYS, 1, FIRST_TASK - 1)
local group, kind, name, number, replace, from = unpack(ARGV)
local is_first, is_task = from == '', kind == 'paused' and is_task_gate(name)
local at = kind .. ':' .. name
allow_writes(keys[NEW], group) -- a task that declares a limit for those that it gathers goes on
check_gates(keys)

-- Have workers ask before each start while a task name is paused: they read this field of the meta hash, which has
-- these names.
local function note_name()
  local meta, noted, names = KEYS[FIRST_TASK], 'paused_tasks:' .. group, {}
  local own = string.sub(name, #TASK_GATE + 1)
  for other in string.gmatch(call('HGET', meta, noted) or '', '[^ ]+') do
    if other ~= own then names[#names + 1] = other end
  end
  if number ~= '' then names[#names + 1] = own end
  if #names > 0 then call('HSET', meta, noted, table.concat(names, ' ')) else call('HDEL', meta, noted) end
end

if is_first then
  if is_task then note_name() end
  if number == '' then
    call('HDEL', keys[GATES], at)
  elseif replace == '1' then
    if call('HGET', keys[GATES], at) == number then return {''} end
    call('HSET', keys[GATES], at, number)
  elseif call('HSETNX', keys[GATES], at, number) == 0 then
    return {''}
  end
end
local is_gate = string.find(name, '/', 1, true)
local last = is_gate and name .. '\1' or name .. '0' -- which comes after a slash
if from == '' then from = is_gate and name .. '\0' or name .. '/' end
if kind == 'paused' and is_first and not is_task then note_turns(keys, 'rate:' .. from, 'rate:' .. last) end
from = note_turns(keys, from, last)
return with_turns(keys, {from})
