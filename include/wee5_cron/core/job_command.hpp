#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wee5::core {

// The functions of ours that a job may call.
enum class JobFunction { kInvokeCronEndpoint, kInvoke, kRun };
std::string_view name_of(JobFunction function);

// What the command of a job does, as far as it can be read from its text.
struct JobCommand {
  std::vector<JobFunction> functions;        // of ours that it calls, each once; empty: it does not call us
  std::optional<std::string> endpoint_path;  // of the first call, where it is a literal
  // One statement that makes one call of one literal path, with no choices and nothing besides. It always calls.
  bool is_plain = false;
  bool harvests = false;  // calls wee5_cron.harvest()
  // A call of invoke_cron_endpoint(one argument) in a schema that is not ours, and its path.
  std::optional<std::string> other_schema;
  std::optional<std::string> other_path;

  bool calls_us() const noexcept { return !functions.empty(); }
};

// Reads a command as SQL. `call_schema` is the schema of our invoke_cron_endpoint; a call that names no schema counts
// as ours. A text whose quotes or comments have no end is no SQL: it calls nobody. Nor is one of more than a megabyte
// read. Both texts are UTF-8.
JobCommand read_job_command(std::string_view command, std::string_view call_schema);

}  // namespace wee5::core
