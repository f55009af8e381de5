-- End tasks that have succeeded, the usual way: `settle` for a batch of one holder in which nothing else happens.
-- KEYS the live stream, the history, the notes, then the task key of each item
-- ARGV place of the stream, group, history limit, the holder of all items, the first and the last of their entries,
--   the id behind the last ('' if there is none), then per item: entry, record ttl in ms, record
-- Returns 1 per item. It stops before the first that it cannot accept, so that the order is kept: `settle` decides
-- about that one (it may have no entry or no id of its own, be a copy, or have another holder) and about the rest.
local stream, history, keys = KEYS[1], KEYS[2], {[NOTES] = KEYS[3]}
local place, group, limit, holder, first, last, behind = unpack(ARGV, 1, 7)
local items, time = #KEYS - 3, int(now_ms())
local prefix = string.match(history, '^(.*)history$') .. 'task:'

local held, messages = {}, {}
for _, row in ipairs(call('XPENDING', stream, group, first, last, items, holder)) do held[row[1]] = true end
local rows = call('XRANGE', stream, first, last, 'COUNT', items)
for _, row in ipairs(rows) do messages[row[1]] = row[2] end
local tasks = call('MGET', unpack(KEYS, 4))

allow_writes(stream, group)
local results, leaving, arg = {}, {}, 8
for item = 1, items do
  local key, entry, ttl, record = KEYS[3 + item], ARGV[arg], ARGV[arg + 1], ARGV[arg + 2]
  local fields, value = held[entry] and messages[entry], tasks[item]
  local id, channels, progress, lock = fields and field(fields, 'id'), nil, nil, nil
  if not id or prefix .. id ~= key then break end
  if value ~= place .. entry then
    if value ~= place .. '+' .. entry then break end
    local index
    channels, progress, lock, index = unpack(notes_of(keys, id, 'waiters', 'progress', 'lock', 'steps'))
    give_back(keys, id, lock)
    drop_notes(keys, id)
    drop_steps(keys, id, index)
    if progress then record = with_progress(record, progress) end
  end
  fields[#fields + 1], fields[#fields + 2] = '_state', '5'
  value = 'h' .. ended_as(remember(history, fields), time, ttl) .. record
  call('SET', key, value, 'PX', ttl)
  announce(history, channels, id, value)
  leaving[item] = entry
  held[entry] = nil
  results[item] = 1
  arg = arg + 3
end
try_call('XTRIM', history, 'MAXLEN', limit) -- once, which is cheaper than with each entry
remove_settled(stream, group, leaving, #leaving == #rows, first, behind)
return results
