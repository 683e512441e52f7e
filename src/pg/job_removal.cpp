#include "wee5_cron/pg/job_removal.h"

#include "wee5_cron/pg/pg_extension_lookup.h"

namespace wee5::pg {

namespace {

// jobid of every job that we made, as bigint[]. A plain heap scan: no planner, no index, no defaults.
ArrayType* our_jobids(Oid job_table) {
  ArrayBuildState* jobids = initArrayResult(INT8OID, CurrentMemoryContext, false);
  AttrNumber column = get_attnum(job_table, "jobid");
  if (column != InvalidAttrNumber) {
    Relation relation = table_open(job_table, NoLock);
    Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
    TableScanDesc scan = table_beginscan(relation, snapshot, 0, nullptr);
    for (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection); HeapTupleIsValid(tuple);
         tuple = heap_getnext(scan, ForwardScanDirection)) {
      bool is_null;
      Datum jobid = heap_getattr(tuple, column, RelationGetDescr(relation), &is_null);
      if (!is_null) accumArrayResult(jobids, jobid, false, INT8OID, CurrentMemoryContext);
    }
    table_endscan(scan);
    UnregisterSnapshot(snapshot);
    table_close(relation, NoLock);
  }
  return DatumGetArrayTypeP(makeArrayResult(jobids, CurrentMemoryContext));
}

}  // namespace

void remove_our_cron_jobs(Oid job_table) {
  ExtensionInfo pg_cron;
  find_extension("pg_cron", &pg_cron);
  Oid cron_job = relation_of_extension("cron", "job", pg_cron.oid);
  if (!OidIsValid(cron_job)) return;
  ArrayType* jobids = our_jobids(job_table);

  // As the owner of cron.job, whose rights suffice whoever drops us; the table's own trigger tells pg_cron.
  Oid saved_user;
  int saved_context;
  GetUserIdAndSecContext(&saved_user, &saved_context);
  HeapTuple class_tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(cron_job));
  if (!HeapTupleIsValid(class_tuple)) return;
  Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(class_tuple))->relowner;
  ReleaseSysCache(class_tuple);
  SetUserIdAndSecContext(owner, saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
  SPI_connect();
  Oid types[1] = {INT8ARRAYOID};
  Datum values[1] = {PointerGetDatum(jobids)};
  int result = SPI_execute_with_args(
      "DELETE FROM cron.job WHERE jobid OPERATOR(pg_catalog.=) ANY ($1)"
      " AND database OPERATOR(pg_catalog.=) pg_catalog.current_database()"
      // One that somebody has made into a job of another kind is no longer ours. No backslashes: the session may have
      // standard_conforming_strings off.
      " AND command OPERATOR(pg_catalog.~) '(invoke_cron_endpoint|wee5_cron[.](invoke|run|harvest))[[:space:]]*[(]'",
      1, types, values, nullptr, false, 0);
  if (result != SPI_OK_DELETE)
    elog(ERROR, "could not remove our jobs from cron.job: %s", SPI_result_code_string(result));
  SPI_finish();
  SetUserIdAndSecContext(saved_user, saved_context);
}

}  // namespace wee5::pg
