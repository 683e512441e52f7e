// SQL functions that tell what the command of a job does.

#include "wee5_cron/pg/jobs/job_command.h"

#include <iterator>

#include "wee5_cron/core/jobs/job_command.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/pg_extension_lookup.h"

namespace wee5::pg {

namespace {

// The schema of our invoke_cron_endpoint(). While the extension is being dropped, the function may be gone. Then it is
// the schema that CREATE EXTENSION named.
char* call_schema() {
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  Oid schema = extension.schema;
  CatCList* list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum("invoke_cron_endpoint"));
  for (int i = 0; i < list->n_members; ++i) {
    Form_pg_proc form = reinterpret_cast<Form_pg_proc>(GETSTRUCT(&list->members[i]->tuple));
    if (belongs_to_extension(ProcedureRelationId, form->oid, extension.oid)) schema = form->pronamespace;
  }
  ReleaseCatCacheList(list);
  char* name = get_namespace_name(schema);
  return name != nullptr ? name : pstrdup("");
}

// Texts in UTF-8, in `texts`.
void read_in_cpp(const char* command, const char* schema, TextBuffer* texts, CommandRead* read) {
  const core::JobCommand found = core::read_job_command(command, schema);
  read->calls_us = found.calls_us();
  read->is_plain = found.is_plain;
  read->harvests = found.harvests;
  for (std::size_t i = 0; i < found.functions.size() && i < std::size(read->functions); ++i)
    read->functions[i] = texts->put(core::name_of(found.functions[i]));
  if (found.endpoint_path) read->endpoint_path = texts->put(*found.endpoint_path);
  if (found.other_schema) read->other_schema = texts->put(*found.other_schema);
  if (found.other_path) read->other_path = texts->put(*found.other_path);
}

Datum text_or_null(const char* value, bool* is_null) {
  *is_null = value == nullptr;
  return value != nullptr ? CStringGetTextDatum(value) : 0;
}

// A look at the jobs asks about the same commands again and again. A process remembers what it has read; of very many
// or very long commands, some.
constexpr long kMostKnown = 8192;
constexpr Size kLongestKnown = 2048;

struct KnownCommand {
  uint64 hash;
  char* command;
  char* schema;
  CommandRead read;
};
MemoryContext known_context = nullptr;
HTAB* known_commands = nullptr;

char* copy_text(const char* text) { return text != nullptr ? pstrdup(text) : nullptr; }

void copy_read(const CommandRead* from, CommandRead* to) {
  *to = *from;
  for (std::size_t i = 0; i < std::size(to->functions); ++i) to->functions[i] = copy_text(from->functions[i]);
  to->endpoint_path = copy_text(from->endpoint_path);
  to->other_schema = copy_text(from->other_schema);
  to->other_path = copy_text(from->other_path);
}

uint64 hash_of(const char* command) {
  return DatumGetUInt64(
      hash_any_extended(reinterpret_cast<const unsigned char*>(command), static_cast<int>(strlen(command)), 0));
}

bool recall_command(const char* command, const char* schema, CommandRead* read) {
  if (known_commands == nullptr) return false;
  uint64 hash = hash_of(command);
  auto* known = static_cast<KnownCommand*>(hash_search(known_commands, &hash, HASH_FIND, nullptr));
  if (known == nullptr || strcmp(known->command, command) != 0 || strcmp(known->schema, schema) != 0) return false;
  copy_read(&known->read, read);
  return true;
}

void forget_commands() {
  known_commands = nullptr;
  if (known_context == nullptr)
    known_context = AllocSetContextCreate(TopMemoryContext, "wee5_cron job commands", ALLOCSET_DEFAULT_SIZES);
  MemoryContextReset(known_context);
  HASHCTL control = {};
  control.keysize = sizeof(uint64);
  control.entrysize = sizeof(KnownCommand);
  control.hcxt = known_context;
  known_commands = hash_create("wee5_cron job commands", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void remember_command(const char* command, const char* schema, const CommandRead* read) {
  if (strlen(command) > kLongestKnown) return;
  if (known_commands == nullptr || hash_get_num_entries(known_commands) >= kMostKnown) forget_commands();
  MemoryContext caller = MemoryContextSwitchTo(known_context);
  KnownCommand made;
  made.hash = hash_of(command);
  made.command = pstrdup(command);
  made.schema = pstrdup(schema);
  copy_read(read, &made.read);
  MemoryContextSwitchTo(caller);
  *static_cast<KnownCommand*>(hash_search(known_commands, &made.hash, HASH_ENTER, nullptr)) = made;
}

}  // namespace

void read_command(char* command, CommandRead* read) {
  memset(read, 0, sizeof(*read));
  const char* schema_name = call_schema();
  if (recall_command(command, schema_name, read)) return;
  const char* utf8 = to_utf8_lossy(command);
  const char* schema = to_utf8_lossy(pstrdup(schema_name));
  // An escape such as \uXXXX has six bytes, and its character at most four.
  TextBuffer texts = make_text_buffer(3 * strlen(utf8) + 256);
  CppFailure failure;
  if (!run_cpp(&failure, [&] { read_in_cpp(utf8, schema, &texts, read); })) raise(&failure);
  if (read->endpoint_path != nullptr) read->endpoint_path = from_utf8(read->endpoint_path);
  if (read->other_schema != nullptr) read->other_schema = from_utf8(read->other_schema);
  if (read->other_path != nullptr) read->other_path = from_utf8(read->other_path);
  remember_command(command, schema_name, read);
}

namespace {

// Reads the command that is a function's argument; false, and nothing read, if it is NULL.
bool read_argument(FunctionCallInfo fcinfo, CommandRead* read) {
  memset(read, 0, sizeof(*read));
  if (PG_ARGISNULL(0)) return false;
  read_command(text_to_cstring(PG_GETARG_TEXT_PP(0)), read);
  return true;
}

}  // namespace

// wee5_cron.calls_us(command text) -> boolean
WEE5_SQL_FUNCTION(wee5_cron_calls_us) {
  CommandRead read;
  if (!read_argument(fcinfo, &read)) PG_RETURN_NULL();
  PG_RETURN_BOOL(read.calls_us);
}

// wee5_cron.is_plain_call(command text) -> boolean
WEE5_SQL_FUNCTION(wee5_cron_is_plain_call) {
  CommandRead read;
  if (!read_argument(fcinfo, &read)) PG_RETURN_NULL();
  PG_RETURN_BOOL(read.is_plain);
}

// wee5_cron.harvests(command text) -> boolean
WEE5_SQL_FUNCTION(wee5_cron_harvests) {
  CommandRead read;
  if (!read_argument(fcinfo, &read)) PG_RETURN_NULL();
  PG_RETURN_BOOL(read.harvests);
}

// wee5_cron.path_of_command(command text) -> text
WEE5_SQL_FUNCTION(wee5_cron_path_of_command) {
  CommandRead read;
  if (!read_argument(fcinfo, &read) || read.endpoint_path == nullptr) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(read.endpoint_path));
}

// wee5_cron.functions_of_command(command text) -> text[]
WEE5_SQL_FUNCTION(wee5_cron_functions_of_command) {
  CommandRead read;
  if (!read_argument(fcinfo, &read)) PG_RETURN_NULL();
  Datum names[std::size(read.functions)];
  int count = 0;
  for (const char* name : read.functions)
    if (name != nullptr) names[count++] = CStringGetTextDatum(name);
  PG_RETURN_ARRAYTYPE_P(construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT));
}

// wee5_cron.other_call(command text, OUT schema text, OUT endpoint_path text)
WEE5_SQL_FUNCTION(wee5_cron_other_call) {
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "wee5_cron.other_call must return a row");
  CommandRead read;
  read_argument(fcinfo, &read);
  bool nulls[2];
  Datum values[2] = {text_or_null(read.other_schema, &nulls[0]), text_or_null(read.other_path, &nulls[1])};
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

}  // namespace wee5::pg
