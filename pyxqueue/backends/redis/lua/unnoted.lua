-- Some of the tasks that wait and are noted nowhere, so that they would wait for ever: another program has deleted the
-- delayed set, the lines or the dependents, or the server has evicted them.
-- KEYS the keys of the group
-- ARGV where to go on ('-' at first), how many to look at
-- Returns where to go on ('' at the end, and where as many are noted as wait), 1 if some wait in lines, then for each:
-- its id, and its entry.
local from, count = ARGV[1], tonumber(ARGV[2])

local function are_some()
  local marks, started = 0, call('HMGET', KEYS[DEPENDENTS], UNFINISHED, STARTED)
  for _, mark in ipairs({TURN, EXPIRY, LOOK}) do
    if call('ZSCORE', KEYS[DELAYED], mark) then marks = marks + 1 end
  end
  for _, number in ipairs(started) do
    if number then marks = marks + 1 + (ms(number) or 0) end
  end
  local noted = call('ZCARD', KEYS[DELAYED]) + call('ZCARD', KEYS[LINES]) + call('HLEN', KEYS[DEPENDENTS]) - marks
  return noted < call('XLEN', KEYS[PARKED])
end

local function is_noted(id, fields)
  local gate, order = field(fields, '_gate'), nil
  if gate then order = field(fields, is_fair(gate) and '_tag' or '_order') end
  if order and call('ZSCORE', KEYS[LINES], in_line(gate, order, id)) then return true end
  return call('ZSCORE', KEYS[DELAYED], id) or call('HEXISTS', KEYS[DEPENDENTS], id) == 1
    or call('HEXISTS', KEYS[DEPENDENTS], '+' .. id) == 1
end

local found = {'', call('EXISTS', KEYS[LINES])}
local function look()
  if from == '-' and not are_some() then return end
  local rows = call('XRANGE', KEYS[PARKED], from, '+', 'COUNT', count)
  for _, row in ipairs(rows) do
    local fields = unpacked(row[2])
    local id = field(fields, '_id') or field(fields, 'id') or row[1]
    if #id <= 64 and string.find(id, '^[%w_.-]+$') and not is_noted(id, fields) then
      found[#found + 1] = id
      found[#found + 1] = row[1]
    end
  end
  if #rows == count then found[1] = '(' .. rows[count][1] end
end

pcall(look) -- what another program has put at a key is dealt with by those who write there
return found
