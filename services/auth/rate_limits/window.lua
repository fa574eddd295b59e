-- Counts requests in moving windows, one key each: many windows in one round trip.
-- KEYS: one list for each window, of the times at which requests were allowed, newest first, in milliseconds.
-- ARGV: the window's length in milliseconds; then for each key its limit, how many requests to count, 0 to look only,
-- and 1 if it is joined to the key before it. Requests are counted in all windows that are joined, or in none.
-- Returns four integers for each key: whether this window allows the requests, how many count now, in how many
-- milliseconds that many more would be allowed, and in how many the window is empty.

-- The server's clock is the only one that all replicas share. Servers before 7.0 only write after reading the clock if
-- told to replicate what was written instead of the script.
if redis.replicate_commands then redis.replicate_commands() end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local window = tonumber(ARGV[1])

-- Drops what is older than the window and returns how many entries are left. They are in order, so the first old one is
-- found by halving, and a large limit costs a few steps.
local function forget_old(key)
    local count = redis.call('LLEN', key)
    if count == 0 or redis.call('LINDEX', key, -1) + window > now then return count end
    local low, high = 0, count - 1
    while low < high do
        local middle = math.floor((low + high) / 2)
        if redis.call('LINDEX', key, middle) + window > now then low = middle + 1 else high = middle end
    end
    if low == 0 then redis.call('DEL', key) else redis.call('LTRIM', key, 0, low - 1) end
    return low
end

local replies = {}
local function limit_of(index) return tonumber(ARGV[3 * index - 1]) end
local function amount_of(index) return tonumber(ARGV[3 * index]) end
local function joined(index) return ARGV[3 * index + 1] == '1' end

-- Counts in one window, unless `counting` is false, and adds what there is to tell of it.
local function answer(index, count, counting)
    local key, limit, amount = KEYS[index], limit_of(index), amount_of(index)
    local allowed = count + amount <= limit
    if counting and amount > 0 then
        for _ = 1, amount do redis.call('LPUSH', key, now) end
        redis.call('PEXPIRE', key, window)
        count = count + amount
    end
    -- The request that has to leave first, and the last one that will.
    local first = count > 0 and redis.call('LINDEX', key, math.max(0, math.min(count, limit) - 1)) or now - window
    local last = count > 0 and redis.call('LINDEX', key, 0) or now - window
    local at = 4 * (index - 1)
    replies[at + 1] = allowed and 1 or 0
    replies[at + 2] = count
    replies[at + 3] = first + window - now
    replies[at + 4] = last + window - now
end

local first = 1
while first <= #KEYS do
    local last = first
    while last < #KEYS and joined(last + 1) do last = last + 1 end
    local counts, counting = {}, true
    for index = first, last do
        counts[index] = forget_old(KEYS[index])
        if counts[index] + amount_of(index) > limit_of(index) then counting = false end
    end
    for index = first, last do answer(index, counts[index], counting) end
    first = last + 1
end
return replies
