#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wee5::core {

// The functions of wee5_cron that a job may call.
enum class JobFunction { kInvokeCronEndpoint, kInvoke, kRun };
std::string_view name_of(JobFunction function);

// What a job's command does, as far as its text tells.
struct JobCommand {
  std::vector<JobFunction> functions;        // our functions that it calls, each once; empty: it does not call us
  std::optional<std::string> endpoint_path;  // the path of the first call, if it is a literal
  // The command is one statement that calls one literal path and does nothing else, so each run makes exactly one call.
  bool is_plain = false;
  bool harvests = false;  // it calls wee5_cron.harvest()
  // It calls an invoke_cron_endpoint() with one argument in another schema than ours: that schema, and the path.
  std::optional<std::string> other_schema;
  std::optional<std::string> other_path;

  bool calls_us() const noexcept { return !functions.empty(); }
};

// Reads a command as SQL. `call_schema` is the schema of our invoke_cron_endpoint(); a call that names no schema counts
// as ours. A command that is not SQL (a quote or a comment has no end) or is longer than a megabyte calls nothing. Both
// texts are UTF-8.
JobCommand read_job_command(std::string_view command, std::string_view call_schema);

}  // namespace wee5::core
