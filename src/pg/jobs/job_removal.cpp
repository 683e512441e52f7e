#include "wee5_cron/pg/jobs/job_removal.h"

#include <initializer_list>
// Postgres's headers last.
#include "wee5_cron/pg/boundary/as_owner.h"
#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/jobs/job_command.h"

namespace wee5::pg {

namespace {

// A job that wee5_cron registered, as wee5_cron.job remembers it.
struct RememberedJob {
  int64 jobid;
  char* name;
  char* endpoint_path;  // NULL: the job that harvests
};

char* text_of_column(HeapTuple tuple, TupleDesc descriptor, AttrNumber column) {
  if (column == InvalidAttrNumber) return nullptr;
  bool is_null;
  Datum value = heap_getattr(tuple, column, descriptor, &is_null);
  return is_null ? nullptr : TextDatumGetCString(value);
}

// A plain heap scan: the table's index and the functions around it may be gone already.
List* remembered_jobs(Oid job_table) {
  AttrNumber jobid_column = get_attnum(job_table, "jobid");
  AttrNumber name_column = get_attnum(job_table, "job_name");
  AttrNumber path_column = get_attnum(job_table, "endpoint_path");
  // If somebody altered the table, it no longer says for certain which jobs are ours.
  if (get_atttype(job_table, jobid_column) != INT8OID || get_atttype(job_table, name_column) != TEXTOID ||
      get_atttype(job_table, path_column) != TEXTOID)
    return NIL;
  List* jobs = NIL;
  Relation relation = table_open(job_table, NoLock);
  Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  TableScanDesc scan = begin_table_scan(relation, snapshot);
  for (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection); HeapTupleIsValid(tuple);
       tuple = heap_getnext(scan, ForwardScanDirection)) {
    TupleDesc descriptor = RelationGetDescr(relation);
    bool is_null;
    Datum jobid = heap_getattr(tuple, jobid_column, descriptor, &is_null);
    if (is_null) continue;
    RememberedJob* job = static_cast<RememberedJob*>(palloc(sizeof(RememberedJob)));
    job->jobid = DatumGetInt64(jobid);
    job->name = text_of_column(tuple, descriptor, name_column);
    job->endpoint_path = text_of_column(tuple, descriptor, path_column);
    jobs = lappend(jobs, job);
  }
  table_endscan(scan);
  UnregisterSnapshot(snapshot);
  table_close(relation, NoLock);
  return jobs;
}

// Whether a job is the remembered one. The id alone is not enough: ids start again when pg_cron is dropped and created
// again, and a user can change a job of ours into another one. So id, name and call must all be the same.
bool is_ours(const RememberedJob* job, int64 jobid, const char* name, char* command) {
  if (job->jobid != jobid || job->name == nullptr || name == nullptr || strcmp(job->name, name) != 0) return false;
  CommandRead read;
  read_command(command, &read);
  if (job->endpoint_path == nullptr) return read.harvests;
  return read.endpoint_path != nullptr && strcmp(read.endpoint_path, job->endpoint_path) == 0;
}

// The ids of this database's jobs in cron.job that are ours, separated by commas.
char* our_jobids(List* jobs) {
  int result = SPI_execute(
      "SELECT jobid, jobname::pg_catalog.text, command FROM cron.job"
      " WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()",
      true, 0);
  if (result != SPI_OK_SELECT) elog(ERROR, "could not read cron.job: %s", SPI_result_code_string(result));
  StringInfoData jobids;
  initStringInfo(&jobids);
  for (uint64 i = 0; i < SPI_processed; ++i) {
    HeapTuple tuple = SPI_tuptable->vals[i];
    TupleDesc descriptor = SPI_tuptable->tupdesc;
    bool is_null;
    int64 jobid = DatumGetInt64(SPI_getbinval(tuple, descriptor, 1, &is_null));
    char* name = SPI_getvalue(tuple, descriptor, 2);
    char* command = SPI_getvalue(tuple, descriptor, 3);
    ListCell* cell;
    foreach (cell, jobs) {
      if (command == nullptr || !is_ours(static_cast<RememberedJob*>(lfirst(cell)), jobid, name, command)) continue;
      appendStringInfo(&jobids, "%s" INT64_FORMAT, jobids.len > 0 ? "," : "", jobid);
      break;
    }
  }
  return jobids.data;
}

// Removes jobs by pg_cron's own function. That function caches the oid of cron.job: if pg_cron was dropped and created
// again since this session last used it, it raises an internal error. Then the row is deleted; the table's trigger
// tells pg_cron.
void unschedule(const char* jobids) {
  if (jobids[0] == '\0') return;
  int result = SPI_execute(
      psprintf("DO LANGUAGE plpgsql $wee5_cron$ DECLARE id pg_catalog.int8;"
               " BEGIN FOREACH id IN ARRAY array[%s]::pg_catalog.int8[] LOOP"
               "   BEGIN PERFORM cron.unschedule(id);"
               "   EXCEPTION WHEN internal_error THEN DELETE FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) id;"
               "   END; END LOOP; END $wee5_cron$",
               jobids),
      false, 0);
  if (result != SPI_OK_UTILITY)
    elog(ERROR, "could not remove our jobs from cron.job: %s", SPI_result_code_string(result));
}

Oid owner_of(Oid relation) {
  HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
  if (!HeapTupleIsValid(tuple)) elog(ERROR, "cache lookup failed for relation %u", relation);
  Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
  ReleaseSysCache(tuple);
  return owner;
}

bool has_unschedule(Oid pg_cron) {
  bool foreign;
  return OidIsValid(function_of_extension("cron", "unschedule", pg_cron, &foreign));
}

}  // namespace

void remove_our_cron_jobs(Oid job_table) {
  ExtensionInfo pg_cron;
  find_extension("pg_cron", &pg_cron);
  Oid cron_job = relation_of_extension("cron", "job", pg_cron.oid);
  if (!OidIsValid(cron_job) || get_attnum(cron_job, "jobname") == InvalidAttrNumber || !has_unschedule(pg_cron.oid))
    return;
  List* jobs = remembered_jobs(job_table);
  if (jobs == NIL) return;

  // The owner of cron.job has the rights that this needs, whoever drops the extension.
  as_owner(owner_of(cron_job), [jobs] { unschedule(our_jobids(jobs)); });
}

void forget_cron_jobids() {
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  Oid job_table = relation_of_extension("wee5_cron", "job", extension.oid);
  // Somebody may have altered our table. pg_cron must stay droppable all the same.
  for (const char* column : {"jobid", "paused_at", "pause_note"})
    if (!OidIsValid(job_table) || get_attnum(job_table, column) == InvalidAttrNumber) return;
  as_owner(extension.owner, [] {
    int result = SPI_execute(
        "UPDATE wee5_cron.job SET jobid = NULL, paused_at = NULL, pause_note = NULL WHERE jobid IS NOT NULL OR "
        "paused_at "
        "IS NOT NULL",
        false, 0);
    if (result != SPI_OK_UPDATE)
      elog(ERROR, "could not forget the jobs of pg_cron: %s", SPI_result_code_string(result));
  });
}

}  // namespace wee5::pg
