-- Everything that is known about tasks.
-- KEYS the five keys of the group, meta, then the task key of each id, then the record key of each
-- ARGV group, ids
-- Returns per id: {task hash, flat; message fields; holder, or ''; 1 if its record can be read; when it was claimed, or
-- '' if that is not known}, or 0 if the task is not known.
local keys, group, now, results = slice(KEYS, 1, 5), ARGV[1], now_ms(), {}
local meta = KEYS[6]
for item = 2, #ARGV do
  local id, task = ARGV[item], KEYS[5 + item]
  local all = all_of(task)
  local foreign = #all == 0 and entry_id(id) and read(keys[STREAM], id)
  if foreign then all = {'at', 'live', 'e', id} end
  local at, entry = field(all, 'at'), field(all, 'e')
  if not at then
    results[#results + 1] = 0
  else
    local pending = at == 'live' and entry and try_call('XPENDING', keys[STREAM], group, entry, entry, 1) or {}
    local _, owner, silent = unpack(pending[1] or {})
    local fields = entry and PLACES[at] and read(stream_of(keys, at), entry)
    if not fields and not owner and is_gone(keys, group, at, entry) then
      end_gone(keys, meta, group, task, id, now)
      all = all_of(task)
    elseif not fields and at == 'failed' then -- it cannot be run again, so its id need not be kept
      allow_writes(keys[STREAM], group)
      call('HSET', task, 'at', 'history', 'e', '')
      call('PEXPIRE', task, int(math.max(DEDUPE_MS, ms(field(all, 'ttl')) or 0)))
    end
    local readable = is_readable(field(all, 'ended'), field(all, 'ttl'), now)
    if readable then all = whole(all, KEYS[5 + #ARGV - 1 + item]) end
    local since = ''
    if owner and started_with(field(all, 'started'), entry) then
      since = string.match(field(all, 'started'), '%d+$')
    elseif owner and not foreign then
      since = int(now - silent)
    end
    results[#results + 1] = {all, fields or {}, owner or '', readable and 1 or 0, since}
  end
end
return results
