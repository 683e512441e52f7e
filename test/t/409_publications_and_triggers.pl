# Whatever is published, calls are delivered: every table of the extension allows UPDATE and DELETE, unless a publication
# makes that impossible. The worker and doctor() then name that publication. The same holds for triggers, rules and rows that
# stop the worker.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Doctor;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => 'max_prepared_transactions = 5');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');
sub sql { return $node->safe_psql('postgres', $_[0]) }

my $calls = 0;
sub call { return $node->call('postgres', '/status/200?n=' . ++$calls) }

# The worker is blocked and says why, and so does doctor().
sub blocked_by {
    my ($what, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $node->poll_query_until('postgres', q{SELECT state = 'blocked' AND last_error <> '' FROM wee5_cron.worker})
      or return fail("$name: the worker is not blocked");
    like(sql('SELECT last_error FROM wee5_cron.worker'), $what, "$name: the worker's last_error says so");
    ok((grep { $_->{status} eq 'error' && $_->{detail} =~ $what } $doctor->lines), '... and doctor() reports it');
    return;
}

sub goes_on {
    my ($id, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $row = $node->finished('postgres', $id);
    fields_are($row, { status => 'succeeded' }, $name);
    is(scalar(grep { $_->{url} eq $row->{endpoint_path} } $receiver->requests), 1, '... and the app got its request once');
    $doctor->green('ledger_tables', 'after the call');
    return;
}

# Everything that the worker writes: a success, a retry, an alert, a skipped call, a cancelled call, history.
$node->no_retries('postgres', '/status/500');
$node->policy('postgres', '/statuses/503,200,503,200', retry_delays => '{10ms}');
sub use_every_table {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $id = call();
    goes_on($id, "$name: a call succeeds");
    my $hangs = $node->call('postgres', '/hang');
    $node->call('postgres', '/status/500') for 1 .. 3;
    my $retried = $node->call('postgres', '/statuses/503,200,503,200?n=' . ++$calls);
    $node->poll_query_until('postgres', "SELECT status = 'sending' FROM wee5_cron.invocation WHERE id = $hangs") or die;
    sql("SELECT wee5_cron.cancel($hangs)");
    fields_are($node->finished('postgres', $hangs), { status => 'cancelled' }, '... and a call can be cancelled');
    fields_are($node->finished('postgres', $retried), { status => 'succeeded', attempts => 2 }, '... and a call is retried');
    $node->wait_until_all_finished('postgres');
    sql('UPDATE wee5_cron.invocation SET finished_at = finished_at - interval $$1 year$$; SELECT wee5_cron.prune()');
    $node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM wee5_cron.cancellation') or fail('cancellations stay');
    $node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM wee5_cron.pending_alert') or fail('alerts stay');
    sql(q{UPDATE wee5_cron.endpoint SET note = 'x'; DELETE FROM wee5_cron.trouble; SELECT wee5_cron.arm()});
    is(sql('SELECT last_error FROM wee5_cron.worker'), '', '... and the worker has no error');
    return;
}

for my $publication ('FOR ALL TABLES', 'FOR TABLES IN SCHEMA wee5_cron') {
    sql("CREATE PUBLICATION p $publication");
    use_every_table($publication);
    my $tables = sql(q{SELECT string_agg(c.relname, ' ') FROM pg_class c WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind = 'r'
        AND c.relpersistence = 'p' AND c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)});
    is($tables, '', '... and every published table has a key or a replica identity');
    sql('DROP PUBLICATION p');
}

# Publications that make Postgres refuse the worker's writes.
my @impossible = (
    [ q{FOR TABLE wee5_cron.invocation WHERE (status = 'failed')}, 'a row filter' ],
    [ q{FOR TABLE wee5_cron.invocation (endpoint_path, status)}, 'a column list' ],
);
for my $case (@impossible) {
    my ($publication, $name) = @$case;
    sql("CREATE PUBLICATION narrow $publication");
    my $id = call();
    blocked_by(qr/publication "narrow"/, $name);
    my ($line) = grep { $_->{check_name} eq 'ledger_tables' } $doctor->lines;
    $doctor->paste($line->{hint}, '... and the hint runs as SQL');
    goes_on($id, '... and after it the call succeeds');
    sql('DROP PUBLICATION narrow');
}
sql('ALTER TABLE wee5_cron.invocation REPLICA IDENTITY FULL; CREATE PUBLICATION narrow FOR TABLE wee5_cron.invocation WHERE (status = $$failed$$)');
goes_on(call(), 'a row filter under REPLICA IDENTITY FULL: a call succeeds');
sql('DROP PUBLICATION narrow; ALTER TABLE wee5_cron.invocation REPLICA IDENTITY NOTHING; CREATE PUBLICATION p FOR ALL TABLES');
{
    my $id = call();
    blocked_by(qr/"p"|"invocation"/, 'REPLICA IDENTITY NOTHING');
    sql('ALTER TABLE wee5_cron.invocation REPLICA IDENTITY DEFAULT');
    goes_on($id, '... and with a replica identity the call succeeds');
    sql('DROP PUBLICATION p');
}

# Triggers.
sql(q{CREATE TABLE public.seen (id bigint, status text);
    CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.seen VALUES (NEW.id, NEW.status); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER noting AFTER UPDATE ON wee5_cron.invocation DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.note()});
{
    my $id = call();
    goes_on($id, 'under a deferred constraint trigger a call succeeds');
    is(sql("SELECT count(*) FROM public.seen WHERE id = $id AND status = 'succeeded'"), 1, '... and the trigger has fired');
    sql('DROP TRIGGER noting ON wee5_cron.invocation');
}
sql(q{CREATE TABLE public.report (call bigint REFERENCES wee5_cron.invocation DEFERRABLE INITIALLY DEFERRED)});
goes_on(call(), 'under a foreign key to the ledger a call succeeds');
is(sql('SELECT wee5_cron.prune() >= 0'), 't', '... and prune() works');
sql(q{INSERT INTO public.report SELECT min(id) FROM wee5_cron.invocation; UPDATE wee5_cron.invocation SET finished_at = finished_at - interval '1 year';
    ALTER DATABASE postgres SET wee5_cron.keep_succeeded = '1 d'});
goes_on(call(), 'under a foreign key that keeps old calls a call succeeds');
$node->poll_query_until('postgres', q{SELECT last_error LIKE '%"report_call_fkey"%' FROM wee5_cron.worker}) or fail('the worker does not say that it cannot prune');
like($doctor->red('worker', 'warning', qr/makes calls, but another of its tasks fails: .*"report_call_fkey"/, 'a foreign key that keeps old calls'), qr/^-- /, '... and the line has a hint');
goes_on(call(), '... and calls still succeed');
sql('DROP TABLE public.report; ALTER DATABASE postgres RESET wee5_cron.keep_succeeded');
$node->poll_query_until('postgres', q{SELECT last_error IS NULL FROM wee5_cron.worker}) or fail('the error stays');
$doctor->green('worker', 'after the foreign key was dropped');

my $discard = 'CREATE FUNCTION public.discard() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;';
sql("$discard CREATE TRIGGER discarding BEFORE UPDATE ON wee5_cron.invocation FOR EACH ROW EXECUTE FUNCTION public.discard()");
{
    my $id = call();
    blocked_by(qr/discards what the worker records.*"discarding"/, 'a trigger that discards every update');
    sql('DROP TRIGGER discarding ON wee5_cron.invocation');
    goes_on($id, '... and after its drop the call succeeds');
}
sql('CREATE TRIGGER discarding BEFORE INSERT ON wee5_cron.cancellation FOR EACH ROW EXECUTE FUNCTION public.discard()');
{
    my $id = $node->call('postgres', '/hang');
    $node->raises('postgres', "SELECT wee5_cron.cancel($id)", '09000', 'a trigger that discards cancellations: cancel() does not claim to have worked', message => qr/call $id was not cancelled.*trigger/);
    sql("DROP TRIGGER discarding ON wee5_cron.cancellation; SELECT wee5_cron.cancel($id)");
    fields_are($node->finished('postgres', $id), { status => 'cancelled' }, '... and after its drop cancel() works');
}
sql('CREATE TRIGGER discarding BEFORE INSERT ON wee5_cron.invocation FOR EACH ROW EXECUTE FUNCTION public.discard()');
$node->raises('postgres', q{SELECT invoke_cron_endpoint('/x')}, '09000', 'a trigger that discards new rows', message => qr/not queued.*trigger/);
sql('DROP TRIGGER discarding ON wee5_cron.invocation');
sql(q{CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$no$$; END';
    CREATE TRIGGER refusing BEFORE UPDATE ON wee5_cron.invocation FOR EACH ROW EXECUTE FUNCTION public.no()});
{
    my $id = call();
    blocked_by(qr/"refusing"/, 'a trigger that raises an error');
    sql('DROP TRIGGER refusing ON wee5_cron.invocation');
    goes_on($id, '... and after its drop the call succeeds');
}
sql('CREATE RULE nothing AS ON UPDATE TO wee5_cron.invocation DO INSTEAD NOTHING');
{
    my $id = call();
    blocked_by(qr/"nothing"/, 'a rule that does nothing instead');
    sql('DROP RULE nothing ON wee5_cron.invocation');
    goes_on($id, '... and after its drop the call succeeds');
}
sql('CREATE RULE nothing AS ON INSERT TO wee5_cron.attempt DO INSTEAD NOTHING');
{
    my $id = call();
    blocked_by(qr/wee5_cron\.attempt has the rule "nothing"/, 'a rule that discards attempts');
    sql('DROP RULE nothing ON wee5_cron.attempt');
    goes_on($id, '... and after its drop the call succeeds');
}
sql('CREATE INDEX dividing ON wee5_cron.invocation ((1 / (http_status - 200))) WHERE id > ' . sql('SELECT max(id) FROM wee5_cron.invocation'));
{
    my $id = call();
    blocked_by(qr/division by zero.*"dividing"/, 'an index whose expression raises an error');
    sql('DROP INDEX wee5_cron.dividing');
    goes_on($id, '... and after its drop the call succeeds');
}

# Keys: if one that our code needs is missing, doctor() has the statement that restores it.
for my $key ('newest_call (route, job_name)', 'trouble (kind, name)', 'attempt (invocation_id, attempt)', 'job (job_name)') {
    my ($table) = $key =~ /^(\w+)/;
    sql("ALTER TABLE wee5_cron.$table DROP CONSTRAINT ${table}_pkey");
    $doctor->red_then_green('ledger_tables', 'warning', qr/^wee5_cron\.$table has no primary key on its columns? "/, "the key of $table is dropped");
}

# Rows.
sql(q{ALTER TABLE wee5_cron.invocation ALTER requested_by DROP NOT NULL, ALTER idempotency_key DROP NOT NULL, ALTER status DROP NOT NULL,
    ALTER method DROP NOT NULL, ALTER attempts DROP NOT NULL, ALTER headers DROP NOT NULL});
for my $column (qw(requested_by idempotency_key status method attempts)) {
    my $bad = sql("BEGIN; SELECT invoke_cron_endpoint('/status/200?bad=$column') AS id \\gset\nUPDATE wee5_cron.invocation SET $column = NULL WHERE id = :id; COMMIT; SELECT :id");
    my $id  = call();
    goes_on($id, "a call succeeds while another row has no $column");
    fields_are($node->finished('postgres', $bad), { status => 'failed', reason => 'config', error => qr/cannot be read.*"$column"/ }, "... and that row's call fails with reason config");
}
is(sql(q{SELECT count(*) FROM wee5_cron.attempt a WHERE a.attempt > 2}), 0, 'no call was sent more than twice');
# The blocks of a large body are lost: a damaged disk.
{
    my ($bad, $file) = split /\|/, sql(q{BEGIN;
SELECT wee5_cron.invoke('/status/200?toast', method => 'POST', body => (SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 3000) n)) AS id \gset
SELECT wee5_cron.disarm() \g /dev/null
COMMIT;
CHECKPOINT;
SELECT :id, pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'wee5_cron.invocation'::regclass});
    $node->stop;
    my $path = $node->data_dir . "/$file";
    my $size = -s $path;
    open my $handle, '>:raw', $path or die $!;
    print $handle "\0" x $size;
    close $handle or die $!;
    $node->start;
    sql('SELECT wee5_cron.arm()');
    my $id = call();
    goes_on($id, 'a call succeeds while another row has a damaged body');
    $node->poll_query_until('postgres', "SELECT finished_at IS NOT NULL FROM wee5_cron.invocation WHERE id = $bad") or die;
    fields_are($node->one_row('postgres', "SELECT status, reason, error FROM wee5_cron.invocation WHERE id = $bad"),
        { status => 'failed', reason => 'config', error => qr/cannot be read.*missing chunk/ },
        "... and that row's call ends");
}

# Policies.
sql(q{ALTER TABLE wee5_cron.endpoint ALTER timeout TYPE text USING timeout::text});
$node->raises('postgres', q{SELECT invoke_cron_endpoint('/x')}, '55000', 'a call is refused when a column of endpoint has another type', message => qr/"timeout" of wee5_cron.endpoint has type text/);
$node->raises('postgres', q{INSERT INTO wee5_cron.endpoint (endpoint_path, timeout) VALUES ('/x', '1 s')}, '55000', '... and so is a new policy', message => qr/"timeout"/);
$doctor->red('ledger_tables', 'error', qr/"timeout" of wee5_cron.endpoint/, 'a policy whose column has another type');
sql(q{ALTER TABLE wee5_cron.endpoint ALTER timeout TYPE interval USING timeout::interval});
goes_on(call(), 'after the column was restored a call succeeds');
sql('ALTER TABLE wee5_cron.endpoint RENAME TO policy');
$node->raises('postgres', q{SELECT invoke_cron_endpoint('/x')}, '55000', 'without the table of policies no call is made', message => qr/wee5_cron.endpoint is missing/);
sql('ALTER TABLE wee5_cron.policy RENAME TO endpoint');
$doctor->red_then_green('ledger_tables', 'warning', qr/check_endpoint/, 'the trigger of the policies is off')
  if sql('ALTER TABLE wee5_cron.endpoint DISABLE TRIGGER check_endpoint; SELECT true') eq 't';
goes_on(call(), 'a call at the end succeeds');
$node->log_is_sane;
done_testing();
