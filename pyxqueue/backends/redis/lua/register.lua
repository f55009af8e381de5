-- Make the group exist: its place in the list of groups, its live streams, their Redis consumer groups, its lease.
-- KEYS meta, the stream of the first group, the stream this group has if it is not the first, the stream of what comes
--   back, the live streams of the priority classes other than 0
-- ARGV group, lease in ms ('' keeps the stored one), default lease, most fields of the meta hash, most groups, layout,
--   the priority classes that the caller uses, the live places in which it has known the group to be,
--   and when that group was made ('' if it has known none)
-- Returns the number of fields of the meta hash, and the hash, flat; if it has too many, only the fields of this group.
--   Then the live places in which the group had been and had to be made again.
-- A queue in another layout is left as it is; then the script returns only the number of that layout.
-- A lost stream or consumer group is made again, so the script also repairs NOGROUP; a paused group stays paused. For a
-- group that is listed it needs no memory, so that a program can connect to a full Redis and make room there.
local meta, group = KEYS[1], ARGV[1]
local CLASSES = {'2', '1', '-1', '-2'} -- of priority, other than 0
local layout, stored = unpack(call('HMGET', meta, 'layout', 'classes'))
layout = layout or call('HEXISTS', meta, 'version') == 1 and '1'
if layout and layout ~= ARGV[6] and string.match(layout, '^%d%d?%d?$') then return tonumber(layout) end
local crowded = call('HLEN', meta) > tonumber(ARGV[4])
local stream = call('HGET', meta, 'group:' .. group)
local is_listed = stream == KEYS[2] or stream == KEYS[3]

local function is_there(stream)
  local found = try_call('XINFO', 'GROUPS', stream) -- an error if there is no such stream
  for _, info in ipairs(found) do
    if field(info, 'name') == group then return true end
  end
  return false
end

-- Whether the stream is that of another group of the queue. A consumer group that another program has made is none:
-- there is no stream of what comes back to it.
local function is_taken(stream)
  local prefix = string.sub(KEYS[4], 1, -#':again' - #group - 1)
  for _, info in ipairs(try_call('XINFO', 'GROUPS', stream)) do
    local other = field(info, 'name')
    if other ~= group and call('EXISTS', prefix .. other .. ':again') > 0 then return true end
  end
  return false
end

if is_listed then
  allow_writes(stream, group)
else -- there is none yet, or another program wrote it
  if stream then call('HDEL', meta, 'group:' .. group) end
  stream = KEYS[2]
  local all, there = crowded and {} or call('HGETALL', meta), 0
  for i = 1, #all, 2 do
    local name = string.match(all[i], '^group:([%w_.@-]+)$') -- no other is a name of a group
    if name and #name <= 64 then
      there = there + 1
      if all[i + 1] == KEYS[2] then stream = KEYS[3] end
    end
  end
  if crowded or there >= tonumber(ARGV[5]) then return {call('HLEN', meta), {}} end
  -- If only the meta hash was lost, each group goes on with its streams, whichever comes first.
  if not is_there(KEYS[2]) and (is_there(KEYS[3]) or is_taken(KEYS[2])) then stream = KEYS[3] end
  for i, class in ipairs(CLASSES) do
    if call('EXISTS', KEYS[3 + 2 * i], KEYS[4 + 2 * i]) > 0 then stored = (stored or '') .. ' ' .. class end
  end
end
local paused, lives, classes = paused_at(meta, group), {n = stream, a = KEYS[4]}, {}
local wanted = ' ' .. (stored or '') .. ' ' .. ARGV[7] .. ' '
for i, class in ipairs(CLASSES) do
  if string.find(wanted, ' ' .. class .. ' ', 1, true) then
    classes[#classes + 1] = class
    local first = 2 * i - 1
    lives[string.sub('PQRSTUVW', first, first)] = KEYS[4 + first]
    lives[string.sub('PQRSTUVW', first + 1, first + 1)] = KEYS[5 + first]
  end
end
classes = table.concat(classes, ' ')
local all_there, gone = true, {}
for place, live in pairs(lives) do
  if not is_there(live) then
    all_there = false
    local was_there = is_listed and (place == 'n' or place == 'a') or string.find(ARGV[8], place, 1, true)
    if was_there then gone[#gone + 1] = place end
    call('XGROUP', 'CREATE', live, group, paused and AT_END or '0', 'MKSTREAM')
    if paused then
      paused[place] = '0-0'
      save_paused(meta, group, paused)
    end
  end
end
if classes ~= (stored or '') then call('HSET', meta, 'classes', classes) end
if layout ~= ARGV[6] then call('HSET', meta, 'layout', ARGV[6]) end
if call('HSETNX', meta, 'group:' .. group, stream) == 1 then groups_changed(meta) end
if ARGV[2] ~= '' then call('HSET', meta, 'lease:' .. group, ARGV[2]) end
call('HSETNX', meta, 'lease:' .. group, ARGV[3])
-- When it was made tells it from an earlier group of its name. If its streams are all there, only the meta hash was
-- lost.
local known, born, lost = ARGV[9], call('HGET', meta, 'born:' .. group), #gone > 0
if not born then
  born = all_there and known ~= '' and known or table.concat(call('TIME'), '.')
  try_call('HSET', meta, 'born:' .. group, born)
end
if known ~= '' and known ~= born then -- of all who have known it, the first counts it
  lost = call('HGET', meta, 'lost:' .. group) ~= known
  if lost then try_call('HSET', meta, 'lost:' .. group, known) end
end
if lost then try_call('HINCRBY', meta, 'remade:' .. group, 1) end
if not crowded then return {call('HLEN', meta), call('HGETALL', meta), gone} end
local lease = call('HGET', meta, 'lease:' .. group)
local own = {'group:' .. group, stream, 'lease:' .. group, lease, 'classes', classes, 'born:' .. group, born}
return {call('HLEN', meta), own, gone}
