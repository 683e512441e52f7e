# What others do with the ledger while calls are delivered: they lock rows, keep old snapshots, commit ids out of order, add
# triggers and indexes to its tables, and write rows themselves. And many calls at once, through all of it.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node     = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

my $hanging = 0;
my $calls   = 'SELECT count(public.invoke_cron_endpoint(%s)) FROM generate_series(1, %d) AS i';

sub all_succeeded {
    my ($count, $where, $name) = @_;
    ok($node->poll_query_until('postgres',
            "SELECT count(*) = $count FROM wee5_cron.invocation WHERE $where AND status = 'succeeded'"),
        "$name: every call succeeds");
    is($node->safe_psql('postgres',
            "SELECT count(*), count(DISTINCT (invocation_id, attempt)) FROM wee5_cron.attempt
             WHERE invocation_id IN (SELECT id FROM wee5_cron.invocation WHERE $where)"),
        "$count|$count", '... and each is recorded once');
    return;
}

sub sent_once {
    my ($path, $count, $name) = @_;
    my %keys = map { $_->{headers}{'idempotency-key'} => 1 } my @requests = $receiver->requests($path);
    is(scalar(@requests), $count, "$name: as many requests as calls");
    is(scalar(keys %keys), $count, '... each with its own key');
    return;
}

# A call that is on the wire until the test tells the receiver to answer.
sub hanging_call {
    my ($path) = @_;
    my $id = $node->call('postgres', $path);
    $receiver->wait_for_requests('/hang', 1 + $hanging++);
    return $id;
}

# A locked row delays only its own result.
my $holder = $node->background_psql('postgres');
my $id     = hanging_call('/hang?locked');
$holder->query_safe("BEGIN; SELECT id FROM wee5_cron.invocation WHERE id = $id FOR UPDATE");
$receiver->release;
$node->safe_psql('postgres', sprintf($calls, "'/beside'", 200));
all_succeeded(200, "endpoint_path = '/beside'", 'calls while a row is locked');
is($node->safe_psql('postgres', "SELECT 'waits' FROM wee5_cron.invocation WHERE id = $id AND finished_at IS NULL"),
    'waits', 'the result of the call whose row is locked waits');
ok($node->poll_query_until('postgres', "SELECT state = 'idle' FROM wee5_cron.worker WHERE datname = 'postgres'"),
    '... and the worker is not blocked');
$holder->query_safe('COMMIT');
all_succeeded(1, "id = $id", 'the call whose row is unlocked');
is(scalar($receiver->requests('/hang')), 1, '... and its request was sent once');

# A call that is committed while a trigger makes the worker sleep. This resets the latch that the commit has set, as
# parallel queries and some waits do.
$node->safe_psql('postgres', <<'SQL');
CREATE SEQUENCE public.tries;
CREATE FUNCTION public.doze() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM nextval($$public.tries$$); PERFORM pg_sleep(0.2); RAISE EXCEPTION $$I slept$$; END';
CREATE TRIGGER dozing BEFORE INSERT OR UPDATE OR DELETE ON wee5_cron.job_watch FOR EACH ROW EXECUTE FUNCTION public.doze();
SELECT wee5_cron.schedule('yearly', '0 0 1 1 *', '/yearly');
SQL
# Each try of the task fails, and the next one comes later: after the fourth, the worker rests for 8 seconds.
$node->safe_psql('postgres', sprintf(<<'SQL', $node->worker_pid('postgres')));
DO $$BEGIN
  WHILE (SELECT last_value < 4 FROM public.tries)
        OR NOT EXISTS (SELECT FROM pg_stat_get_activity(%d) WHERE wait_event = 'PgSleep') LOOP
    PERFORM pg_stat_clear_snapshot();
  END LOOP;
  PERFORM public.invoke_cron_endpoint('/while-it-sleeps');
END$$
SQL
is($node->safe_psql('postgres', <<'SQL'), 'succeeded|4', 'a call that is committed while a trigger sleeps is sent before the worker wakes for something else');
SELECT (SELECT (wee5_cron.wait_for(id)).status FROM wee5_cron.invocation WHERE endpoint_path = '/while-it-sleeps'),
       (SELECT last_value FROM public.tries)
SQL
$node->safe_psql('postgres', q{DROP TRIGGER dozing ON wee5_cron.job_watch; SELECT wee5_cron.unschedule('yearly')});

# The foreign key of a user's table locks rows, too, but they can still be updated.
$node->safe_psql('postgres', 'CREATE TABLE refers (id bigint REFERENCES wee5_cron.invocation)');
$id = hanging_call('/hang?referred');
$holder->query_safe("BEGIN; INSERT INTO refers VALUES ($id)");
$receiver->release;
all_succeeded(1, "id = $id", 'a call whose row a foreign key refers to');
$holder->query_safe('ROLLBACK');
$node->safe_psql('postgres', 'DROP TABLE refers');

# An old snapshot: no entry of an ended call can be removed from the index. Then ids that commit out of order.
$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$node->safe_psql('postgres', sprintf($calls, "'/old'", 2000));
all_succeeded(2000, "endpoint_path = '/old'", 'calls while a session holds an old snapshot');
my $early = $node->background_psql('postgres');
$early->query_safe("BEGIN; SELECT public.invoke_cron_endpoint('/old?early')");
$node->safe_psql('postgres', sprintf($calls, "'/old?late'", 500));
all_succeeded(500, "endpoint_path = '/old?late'", 'calls with higher ids that commit first');
$early->query_safe('COMMIT');
all_succeeded(1, "endpoint_path = '/old?early'", 'a call with a lower id that commits later');
$node->safe_psql('postgres', sprintf($calls, "'/path/' || i", 3000));
all_succeeded(3000, "endpoint_path LIKE '/path/%'", 'calls of three thousand paths');
$holder->query_safe('COMMIT');
sent_once('/old', 2501, 'all calls made during the old snapshot');

# A user's trigger fires for each row, although the worker writes without statements when there is no trigger.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE seen (id bigint, status text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.seen VALUES (NEW.id, NEW.status); RETURN NEW; END $$;
CREATE TRIGGER see AFTER UPDATE ON wee5_cron.invocation FOR EACH ROW EXECUTE FUNCTION see();
GRANT INSERT ON seen TO PUBLIC;
SQL
$node->safe_psql('postgres', sprintf($calls, "'/watched'", 300));
all_succeeded(300, "endpoint_path = '/watched'", "calls under a user's trigger");
is($node->safe_psql('postgres', "SELECT count(DISTINCT id) FROM seen WHERE status = 'succeeded'"), 300, 'the trigger fires for each call');
$node->safe_psql('postgres', 'DROP TRIGGER see ON wee5_cron.invocation');

# A user's index is maintained, and contains what the table contains.
$node->safe_psql('postgres', 'CREATE INDEX mine ON wee5_cron.invocation (status, lower(endpoint_path)) WHERE finished_at IS NOT NULL');
$node->safe_psql('postgres', sprintf($calls, "'/Indexed'", 300));
all_succeeded(300, "endpoint_path = '/Indexed'", "calls under a user's index");
is($node->safe_psql('postgres',
        "SET enable_seqscan = off; SET enable_bitmapscan = off;
         SELECT count(*) FROM wee5_cron.invocation
         WHERE status = 'succeeded' AND lower(endpoint_path) = '/indexed' AND finished_at IS NOT NULL"),
    300, "the user's index finds each call");

# Rows that a user inserted into the ledger are found without another call.
$node->safe_psql('postgres', sprintf($calls, "'/by-function'", 1));
$node->safe_psql('postgres', "INSERT INTO wee5_cron.invocation (endpoint_path, transport) SELECT '/by-hand', 'builtin' FROM generate_series(1, 20)");
$node->safe_psql('postgres', sprintf($calls, "'/by-function'", 1));
all_succeeded(20, "endpoint_path = '/by-hand'", 'calls inserted by hand');

# Autovacuum learns what the worker has written.
ok($node->poll_query_until('postgres',
        "SELECT n_tup_upd >= 6000 FROM pg_stat_user_tables WHERE relid = 'wee5_cron.invocation'::regclass"),
    "autovacuum's statistics include what the worker writes");
$node->safe_psql('postgres', 'CREATE EXTENSION amcheck');
is($node->safe_psql('postgres', <<'SQL'), "t\n0\n0", 'tables and indexes are not corrupt');
SELECT count(bt_index_check(i.indexrelid, true)) > 4 FROM pg_index i
WHERE i.indrelid IN ('wee5_cron.invocation'::regclass, 'wee5_cron.attempt'::regclass);
SELECT count(*) FROM verify_heapam('wee5_cron.invocation');
SELECT count(*) FROM verify_heapam('wee5_cron.attempt');
SQL

$node->log_is_sane;
$_->quit for $holder, $early;
done_testing();
