#include "wee5_cron/pg/boundary/json_headers.h"

#include "wee5_cron/pg/boundary/boundary.h"

namespace wee5::pg {

namespace {

// The most bytes that names and values may have together. Servers accept 8 to 16 kB of headers in a request, and the
// worker holds the headers of many calls in memory.
constexpr int kMostBytes = 65'536;

char* text_of(const JsonbValue* value, bool stored) {
  char* text = pnstrdup(value->val.string.val, static_cast<Size>(value->val.string.len));
  return stored ? to_utf8_lossy(text) : to_utf8(text);
}

bool all_values_are_strings(Jsonb* jsonb) {
  JsonbIterator* iterator = JsonbIteratorInit(&jsonb->root);
  JsonbValue value;
  bool all = true;
  for (JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, true); token != WJB_DONE;
       token = JsonbIteratorNext(&iterator, &value, true))
    all = all && (token != WJB_VALUE || value.type == jbvString);
  return all;
}

JsonbValue string_value(const char* utf8) {
  char* text = from_utf8(utf8);
  JsonbValue value;
  value.type = jbvString;
  value.val.string.val = text;
  value.val.string.len = static_cast<int>(strlen(text));
  return value;
}

void check_size(Jsonb* jsonb) {
  JsonbIterator* iterator = JsonbIteratorInit(&jsonb->root);
  JsonbValue value;
  int64 bytes = 0;
  for (JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, true); token != WJB_DONE;
       token = JsonbIteratorNext(&iterator, &value, true))
    if (token == WJB_KEY || (token == WJB_VALUE && value.type == jbvString)) bytes += value.val.string.len;
  if (bytes > kMostBytes)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("the headers have more than %d bytes, more than any server accepts", kMostBytes),
                    errhint("Send large data in the body.")));
}

void add_header(HeaderList* headers, char* name, const JsonbValue* value, bool stored) {
  if (value->type != jbvString)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("the value of header \"%s\" is not a string", from_utf8(name)),
                    errhint("Write every header's value as a JSON string: '{\"X-Count\": \"5\"}'.")));
  headers->names[headers->count] = name;
  headers->values[headers->count] = text_of(value, stored);
  ++headers->count;
}

void read_headers(Jsonb* jsonb, HeaderList* headers, bool stored) {
  memset(headers, 0, sizeof(*headers));
  if (jsonb == nullptr) return;
  if (!JB_ROOT_IS_OBJECT(jsonb))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("headers must be a JSON object"),
                    errhint("Write them as '{\"X-Name\": \"value\"}'.")));
  Size size = JB_ROOT_COUNT(jsonb);
  if (size == 0) return;
  if (!stored) check_size(jsonb);
  headers->names = static_cast<char**>(palloc(sizeof(char*) * size));
  headers->values = static_cast<char**>(palloc(sizeof(char*) * size));

  JsonbIterator* iterator = JsonbIteratorInit(&jsonb->root);
  JsonbValue value;
  char* name = nullptr;
  for (JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, true); token != WJB_DONE;
       token = JsonbIteratorNext(&iterator, &value, true)) {
    if (token == WJB_KEY) name = text_of(&value, stored);
    if (token == WJB_VALUE) add_header(headers, name, &value, stored);
  }
}

}  // namespace

void headers_from_jsonb(Jsonb* jsonb, HeaderList* headers) { read_headers(jsonb, headers, false); }

bool headers_from_stored_jsonb(Jsonb* jsonb, HeaderList* headers) {
  memset(headers, 0, sizeof(*headers));
  if (jsonb != nullptr && (!JB_ROOT_IS_OBJECT(jsonb) || !all_values_are_strings(jsonb))) return false;
  read_headers(jsonb, headers, true);
  return true;
}

Jsonb* jsonb_from_headers(const HeaderList* headers) {
  JsonObject object;
  begin_json_object(&object);
  for (int i = 0; i < headers->count; ++i) {
    JsonbValue name = string_value(headers->names[i]);
    JsonbValue value = string_value(headers->values[i]);
    add_to_json_object(&object, &name, &value);
  }
  return end_json_object(&object);
}

}  // namespace wee5::pg
