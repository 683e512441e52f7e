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

char* to_utf8_lossy(char* text) {
  if (text == nullptr) return nullptr;
  int encoding = GetDatabaseEncoding();
  int length = static_cast<int>(strlen(text));
  bool ascii = true;
  for (const char* at = text; *at != '\0'; ++at) ascii = ascii && (static_cast<unsigned char>(*at) < 0x80);
  if (ascii || encoding == PG_UTF8) return text;
  Oid proc = encoding == PG_SQL_ASCII ? InvalidOid : FindDefaultConversionProc(encoding, PG_UTF8);
  char* result = static_cast<char*>(palloc(static_cast<Size>(length) * MAX_CONVERSION_GROWTH + 1));
  int used = 0;
  for (int at = 0; at < length;) {
    unsigned char* from = reinterpret_cast<unsigned char*>(text + at);
    int step = pg_encoding_mblen(encoding == PG_SQL_ASCII ? PG_UTF8 : encoding, text + at);
    bool whole = step <= length - at;
    if (whole && encoding == PG_SQL_ASCII && pg_utf8_islegal(from, step)) {
      memcpy(result + used, from, static_cast<Size>(step));
      used += step;
    } else {
      if (!whole || encoding == PG_SQL_ASCII) step = 1;
      unsigned char converted[MAX_CONVERSION_GROWTH * 8 + 1];
      bool done = OidIsValid(proc) && pg_do_encoding_conversion_buf(proc, encoding, PG_UTF8, from, step, converted,
                                                                    static_cast<int>(sizeof(converted)), true) == step;
      const char* put = done ? reinterpret_cast<const char*>(converted) : "\xEF\xBF\xBD";
      memcpy(result + used, put, strlen(put));
      used += static_cast<int>(strlen(put));
    }
    at += step;
  }
  result[used] = '\0';
  return result;
}

char* from_utf8(const char* text) {
  if (text == nullptr) return nullptr;
  int encoding = GetDatabaseEncoding();
  int length = static_cast<int>(strlen(text));
  bool ascii = true;
  for (const char* at = text; *at != '\0'; ++at) ascii = ascii && (static_cast<unsigned char>(*at) < 0x80);
  if (ascii || encoding == PG_UTF8 || encoding == PG_SQL_ASCII) return const_cast<char*>(text);

  // Character by character: pg_any_to_server raises at the first one that the server's encoding does not have.
  Oid proc = FindDefaultConversionProc(PG_UTF8, encoding);
  char* result = static_cast<char*>(palloc(static_cast<Size>(length) * MAX_CONVERSION_GROWTH + 1));
  int used = 0;
  for (int at = 0; at < length;) {
    int step = pg_encoding_mblen(PG_UTF8, text + at);
    if (step > length - at) step = length - at;
    unsigned char converted[MAX_CONVERSION_GROWTH * 8 + 1];
    bool done = false;
    if (OidIsValid(proc)) {
      int consumed = pg_do_encoding_conversion_buf(proc, PG_UTF8, encoding,
                                                   reinterpret_cast<unsigned char*>(const_cast<char*>(text + at)), step,
                                                   converted, static_cast<int>(sizeof(converted)), true);
      done = consumed == step;
    }
    if (done) {
      int size = static_cast<int>(strlen(reinterpret_cast<char*>(converted)));
      memcpy(result + used, converted, static_cast<size_t>(size));
      used += size;
    } else {
      result[used++] = '?';
    }
    at += step;
  }
  result[used] = '\0';
  return result;
}

}  // namespace wee5::pg
