-- Add a batch of statistics to the slots of a group, as `pyxqueue.model.statistics` does it in Python.
-- KEYS meta, statistics, senders
-- ARGV group, sender, number, then the name of each task and its numbers, as a line of a slot has them
-- Returns 1, or 0 if the batch was counted before or there is no such group.
local MINUTE, TEN, MINUTES, TENS = 60000, 600000, 480, 432
local MAX_NAMES, MAX_NUMBER, MAX_SENDERS, OTHER = 300, 2 ^ 53 - 1, 1000, 'other'
local meta, statistics, senders = unpack(KEYS)
local group, sender, number = unpack(ARGV)

if call('HEXISTS', meta, 'group:' .. group) == 0 then return 0 end
for key, command in pairs({[statistics] = 'HLEN', [senders] = 'ZCARD'}) do
  if type(try_call(command, key)) == 'table' then call('DEL', key) end -- another program has put it there
end
local last = call('ZSCORE', senders, sender)
if last and tonumber(last) >= tonumber(number) then return 0 end
call('ZADD', senders, number, sender)
if call('ZCARD', senders) > 2 * MAX_SENDERS then call('ZREMRANGEBYRANK', senders, 0, -MAX_SENDERS - 1) end

local function new_slot(start)
  return {start = start, names = {}, numbers = {}}
end

local function read_slot(name)
  local start, lines = string.match(call('HGET', statistics, name) or '', '^(%d+)(.*)$')
  if not start or #start > 15 then return new_slot(-1) end
  local slot = new_slot(tonumber(start))
  for task, numbers in string.gmatch(lines, '\n([^\t\n]*)\t([^\n]*)') do
    if not slot.numbers[task] and #slot.names <= MAX_NAMES then
      slot.names[#slot.names + 1] = task
      slot.numbers[task] = numbers
    end
  end
  return slot
end

local function write_slot(name, slot)
  local lines = {int(slot.start)}
  for i, task in ipairs(slot.names) do lines[i + 1] = task .. '\t' .. slot.numbers[task] end
  call('HSET', statistics, name, table.concat(lines, '\n'))
end

local function sum(one, other)
  local sums, parts = {}, {}
  for _, numbers in ipairs({one, other}) do
    for column, count in string.gmatch(numbers, '(%d+):(%d+)') do
      column = tonumber(column)
      sums[column] = math.min(MAX_NUMBER, (sums[column] or 0) + tonumber(count))
    end
  end
  for column = 0, 99 do
    if sums[column] then parts[#parts + 1] = column .. ':' .. int(sums[column]) end
  end
  return table.concat(parts, ' ')
end

local function add(slot, task, numbers)
  if not slot.numbers[task] then
    if #slot.names - (slot.numbers[OTHER] and 1 or 0) >= MAX_NAMES then task = OTHER end
    if not slot.numbers[task] then
      slot.names[#slot.names + 1] = task
      slot.numbers[task] = ''
    end
  end
  slot.numbers[task] = sum(slot.numbers[task], numbers)
end

-- Add a minute that is over to another slot, which begins at that time; nil for the totals, which began at any time.
local function close(minute, name, begins)
  local slot = read_slot(name)
  if slot.start < 0 or begins and slot.start ~= begins then slot = new_slot(begins or minute.start) end
  for _, task in ipairs(minute.names) do add(slot, task, minute.numbers[task]) end
  write_slot(name, slot)
end

local now, current = now_ms(), read_slot('now')
local minute, start = now - now % MINUTE, current.start
if start ~= minute then
  if #current.names > 0 then
    close(current, 'm' .. int(math.floor(start / MINUTE) % MINUTES), start)
    close(current, 't' .. int(math.floor(start / TEN) % TENS), start - start % TEN)
    close(current, 'total')
  end
  current = new_slot(minute)
end
for i = 4, #ARGV, 2 do add(current, ARGV[i], ARGV[i + 1]) end
write_slot('now', current)
return 1
