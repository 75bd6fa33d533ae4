-- What wrk sends: the same pictures in turn. Arguments: folder, form, content type, path, how many pictures.
local bodies, next, path, headers = {}, 0, nil, nil

function init(args)
  for number = 1, tonumber(args[5]) do
    local file = io.open(string.format("%s/%02d.%s", args[1], number - 1, args[2]), "rb")
    bodies[number] = file:read("*a")
    file:close()
  end
  headers, path = { ["Content-Type"] = args[3] }, args[4]
end

function request()
  next = next % #bodies + 1
  return wrk.format("POST", path, headers, bodies[next])
end

-- A request that failed otherwise than by its status (connect, read, write, timeout) has no answer to be counted.
function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'JSON {"answers": %d, "seconds": %f, "not_200": %d, "no_answer": %d, "p50_ms": %f, "p99_ms": %f}\n',
    summary.requests, summary.duration / 1e6, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
