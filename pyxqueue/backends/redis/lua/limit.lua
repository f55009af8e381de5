-- Store the number of a limit, or of one of its gates, or whether it is paused, and note the gates that have room and
-- a line because of it.
-- KEYS the keys of the group
-- ARGV kind ('limit' if it is set, 'default' if it is declared, 'paused' for a pause), name, number ('' for none), '1'
--   to replace another one, where to go on in the lines ('' at first)
-- Returns where to go on ('' at the end), then the tasks whose turn it is.
local keys = slice(KEYS, 1, FIRST_TASK - 1)
local kind, name, number, replace, from = unpack(ARGV)
local at = kind .. ':' .. name
check_gates(keys)
if from == '' then
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
if kind == 'paused' and ARGV[5] == '' then note_turns(keys, 'rate:' .. from, 'rate:' .. last) end
from = note_turns(keys, from, last)
return with_turns(keys, {from})
