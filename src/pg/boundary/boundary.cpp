#include "wee5_cron/pg/boundary/boundary.h"

namespace wee5::pg {

void raise(const CppFailure* failure) {
  const char* hint = failure->hint[0] != '\0' ? from_utf8(failure->hint) : nullptr;
  ereport(ERROR, (errcode(failure->sqlstate), errmsg("%s", from_utf8(failure->message)),
                  hint != nullptr ? errhint("%s", hint) : 0));
  pg_unreachable();
}

char* to_utf8(char* text) {
  if (text == nullptr) return nullptr;
  return pg_server_to_any(text, static_cast<int>(strlen(text)), PG_UTF8);
}

namespace {

bool is_ascii(const char* text) {
  for (; *text != '\0'; ++text)
    if (IS_HIGHBIT_SET(*text)) return false;
  return true;
}

struct Conversion {
  int source;
  int target;
  Oid function;
  const char* replacement;  // for a character that the target does not have, or that is no character of the source
};

// Converts one character into `out`, with a NUL behind it; false if that is impossible.
bool convert_character(const Conversion* conversion, char* text, int length, char* out, int room) {
  unsigned char* from = reinterpret_cast<unsigned char*>(text);
  if (conversion->source == conversion->target) {
    memcpy(out, text, static_cast<Size>(length));
    out[length] = '\0';
    return pg_utf8_islegal(from, length);
  }
  return OidIsValid(conversion->function) &&
         pg_do_encoding_conversion_buf(conversion->function, conversion->source, conversion->target, from, length,
                                       reinterpret_cast<unsigned char*>(out), room, true) == length;
}

// Converts character by character: pg_server_to_any() and pg_any_to_server() raise at the first one that does not
// convert.
char* convert(char* text, const Conversion* conversion) {
  Size length = strlen(text);
  // On 32-bit platforms the product could be more than Size holds, and palloc() would be asked for too little.
  if (length >= MaxAllocSize / MAX_CONVERSION_GROWTH)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("a text of %zu bytes is too long to be converted", length)));
  char* result = static_cast<char*>(palloc(length * MAX_CONVERSION_GROWTH + 1));
  char* end = result;
  for (char* at = text; *at != '\0';) {
    int step = pg_encoding_mblen(conversion->source, at);
    if (static_cast<Size>(step) > length - static_cast<Size>(at - text)) step = 1;
    char converted[MAX_CONVERSION_GROWTH * 8 + 1];
    bool done = convert_character(conversion, at, step, converted, static_cast<int>(sizeof(converted)));
    // Bytes that are not part of a character are replaced one by one.
    if (!done && conversion->source == conversion->target) step = 1;
    const char* put = done ? converted : conversion->replacement;
    Size size = strlen(put);
    memcpy(end, put, size);
    end += size;
    at += step;
  }
  *end = '\0';
  return result;
}

}  // namespace

char* to_utf8_lossy(char* text) {
  int encoding = GetDatabaseEncoding();
  if (text == nullptr || is_ascii(text) || encoding == PG_UTF8) return text;
  // SQL_ASCII stands for bytes of any encoding. Most often that is UTF-8.
  Conversion conversion = {encoding, PG_UTF8, InvalidOid, "\xEF\xBF\xBD"};
  if (encoding == PG_SQL_ASCII)
    conversion.source = PG_UTF8;
  else
    conversion.function = FindDefaultConversionProc(encoding, PG_UTF8);
  return convert(text, &conversion);
}

char* from_utf8(const char* text) {
  int encoding = GetDatabaseEncoding();
  char* given = const_cast<char*>(text);
  if (text == nullptr || is_ascii(text) || encoding == PG_UTF8 || encoding == PG_SQL_ASCII) return given;
  Conversion conversion = {PG_UTF8, encoding, FindDefaultConversionProc(PG_UTF8, encoding), "?"};
  return convert(given, &conversion);
}

}  // namespace wee5::pg
