# A call writes its row without a statement, but with the effects of an INSERT: constraints, triggers and indexes that users
# add to the ledger apply to it, and so does the transaction. All in open sessions, which have to notice every change.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => 'max_prepared_transactions = 5');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query('\set VERBOSITY verbose');

# One call in the open session, or several statements. Returns the output and the errors.
sub in_session {
    my ($sql) = @_;
    my $out = $session->query($sql);
    my $errors = $session->{stderr};
    $session->{stderr} = '';
    return wantarray ? ($out, $errors) : $out;
}

sub other_session { return $node->safe_psql('postgres', $_[0]) }

sub session_raises {
    my ($sql, $pattern, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($out, $errors) = in_session($sql);
    return like($errors, $pattern, $name);
}

my $tests = 0;
# Each call has a path of its own, so that the test finds its row.
sub path { return '/status/200?' . ++$tests }

# Whether the session writes without a statement: an error in a statement has it in its context.
sub goes_by_statement {
    other_session(q{ALTER TABLE wee5_cron.invocation ADD CONSTRAINT probe CHECK (endpoint_path <> '/probe')});
    my ($out, $errors) = in_session("SELECT invoke_cron_endpoint('/probe')");
    other_session('ALTER TABLE wee5_cron.invocation DROP CONSTRAINT probe');
    die "the probe did not fail: $out $errors" unless $errors =~ /23514/;
    return $errors =~ /CONTEXT:\s+SQL statement "INSERT/ ? 'yes' : 'no';
}

is(goes_by_statement(), 'no', 'a call writes its row without a statement, and respects a CHECK that a user adds');

# The same call both ways, in one transaction, so that the worker has touched neither row.
my $call = q{SELECT wee5_cron.invoke('/same', method => 'POST', body => '{"a": [1, "ü"]}', headers => '{"X-One": "1"}', timeout => '7 s')};
my $columns = other_session(q{SELECT string_agg(format('i.%I', attname), ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = 'wee5_cron.invocation'::regclass AND attnum > 0 AND attname NOT IN ('id', 'idempotency_key')});
my $rows = in_session(<<"SQL");
BEGIN;
$call \\g /dev/null
CREATE FUNCTION public.as_it_is() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER as_it_is BEFORE INSERT ON wee5_cron.invocation FOR EACH ROW EXECUTE FUNCTION public.as_it_is();
$call \\g /dev/null
SELECT count(*), count(DISTINCT ROW($columns)), count(DISTINCT idempotency_key), max(id) - min(id), bool_and(requested_at = now())
FROM wee5_cron.invocation i WHERE endpoint_path = '/same';
ROLLBACK;
SQL
is($rows, '2|1|2|1|t', 'a row is the same by statement and without: only id and key differ');

# More calls than keys are drawn at once, in two sessions.
my $keys = q{SELECT count(invoke_cron_endpoint('/keys')) FROM generate_series(1, 150)};
in_session($keys);
other_session($keys);
is(other_session(q{SELECT count(DISTINCT idempotency_key), bool_and(idempotency_key::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab]')
    FROM wee5_cron.invocation WHERE endpoint_path = '/keys'}), '300|t', 'each call has a random key of its own, as gen_random_uuid() makes them');
is(in_session(<<'SQL'), '1', '... or by another default, if somebody sets one');
BEGIN;
ALTER TABLE wee5_cron.invocation ALTER idempotency_key SET DEFAULT md5(nextval('wee5_cron.invocation_id_seq')::text)::uuid;
SELECT invoke_cron_endpoint('/keys') \g /dev/null
SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/keys' AND idempotency_key = md5((id - 1)::text)::uuid OR idempotency_key = md5((id + 1)::text)::uuid;
ROLLBACK;
SQL

is(in_session(<<'SQL'), "t\nt", 'the row is visible to the next statement of its transaction, and counted for autovacuum');
BEGIN;
SELECT invoke_cron_endpoint('/counted') AS id \gset
SELECT count(*) = 1 FROM wee5_cron.invocation WHERE id = :id;
SELECT n_tup_ins >= 1 FROM pg_stat_xact_all_tables WHERE relid = 'wee5_cron.invocation'::regclass;
ROLLBACK;
SQL
session_raises("SELECT wee5_cron.wait_for(invoke_cron_endpoint('/own'), '1 s')", qr/55000/, 'wait_for() in the statement that makes the call is refused');
is(in_session(q{SELECT count(i.id) FROM invoke_cron_endpoint('/status/200') c LEFT JOIN wee5_cron.invocation i ON i.id = c}),
    '0', 'the statement that makes a call does not see its row, as with INSERT');

# What users add to the ledger. Each case: the statement, and what a call must show afterwards.
other_session('CREATE TABLE public.noted (id bigint, path text); GRANT ALL ON public.noted TO PUBLIC');
my $noting = q{CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO public.noted VALUES (NEW.id, NEW.endpoint_path); RETURN NULL; END'};
other_session($noting);
sub noted { return other_session("SELECT count(*) FROM public.noted WHERE path = '$_[0]'") }

for my $case (
    [ 'an AFTER ROW trigger', 'CREATE TRIGGER noting AFTER INSERT ON wee5_cron.invocation FOR EACH ROW EXECUTE FUNCTION public.note()',
        'DROP TRIGGER noting ON wee5_cron.invocation' ],
    [ 'a rule', 'CREATE RULE noting AS ON INSERT TO wee5_cron.invocation DO ALSO INSERT INTO public.noted VALUES (NEW.id, NEW.endpoint_path)',
        'DROP RULE noting ON wee5_cron.invocation' ],
) {
    my ($what, $add, $drop) = @$case;
    other_session($add);
    my $path = path();
    in_session("SELECT invoke_cron_endpoint('$path')");
    is(noted($path), 1, "$what that another session adds applies from the next call on");
    other_session($drop);
    $path = path();
    in_session("SELECT invoke_cron_endpoint('$path')");
    is(noted($path), 0, '... and no longer after it is dropped');
    my $own = path();
    in_session("BEGIN; SELECT invoke_cron_endpoint('$path'); $add; SELECT invoke_cron_endpoint('$own'); $drop; COMMIT");
    is(noted($own), 1, '... and it also applies when the calling transaction adds it between two calls');
}
is(goes_by_statement(), 'no', 'once all of them are dropped a call needs no statement');

other_session(q{CREATE FUNCTION public.fine(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 <> ''/bad'''});
other_session('ALTER TABLE wee5_cron.invocation ADD CONSTRAINT fine CHECK (public.fine(endpoint_path))');
session_raises(q{SELECT invoke_cron_endpoint('/bad')}, qr/23514.*"fine"/, "a CHECK that calls a user's function is respected");
like(in_session(q{SELECT invoke_cron_endpoint('/status/200')}), qr/^\d+$/, '... and other calls pass it');
other_session(q{CREATE OR REPLACE FUNCTION public.fine(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 <> ''/worse'''});
session_raises(q{SELECT invoke_cron_endpoint('/worse')}, qr/23514.*"fine"/, '... and a changed function applies to the next call');
other_session('ALTER TABLE wee5_cron.invocation DROP CONSTRAINT fine');

other_session('ALTER TABLE wee5_cron.invocation ALTER url SET NOT NULL') if other_session('TRUNCATE wee5_cron.invocation; SELECT true') eq 't';
session_raises(q{SELECT invoke_cron_endpoint('/null')}, qr/23502.*"url"/, 'a NOT NULL that a user adds is respected');
other_session('ALTER TABLE wee5_cron.invocation ALTER url DROP NOT NULL');

# Columns and defaults.
other_session(q{ALTER TABLE wee5_cron.invocation ADD tenant text NOT NULL DEFAULT current_setting('app.tenant', true)});
my $path = path();
in_session("SET app.tenant = 'first'; SELECT invoke_cron_endpoint('$path'); SET app.tenant = 'second'; SELECT invoke_cron_endpoint('$path')");
is(other_session("SELECT string_agg(tenant, ' ' ORDER BY id) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"),
    'first second', "a user's column gets its default, evaluated at each call");
is(goes_by_statement(), 'no', '... without a statement');
other_session('ALTER TABLE wee5_cron.invocation DROP tenant');
other_session('ALTER TABLE wee5_cron.invocation ADD route text GENERATED ALWAYS AS (upper(endpoint_path)) STORED');
$path = path();
in_session("SELECT invoke_cron_endpoint('$path')");
is(other_session("SELECT route FROM wee5_cron.invocation WHERE endpoint_path = '$path'"), uc $path, 'a generated column is generated');
other_session('ALTER TABLE wee5_cron.invocation DROP route');
$path = path();
in_session("SELECT invoke_cron_endpoint('$path')");
is(other_session("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"), 1, "a call is written after a user's column was dropped");
other_session(q{CREATE SEQUENCE public.other START 1000000; GRANT ALL ON SEQUENCE public.other TO PUBLIC;
    ALTER TABLE wee5_cron.invocation ALTER id SET DEFAULT nextval('public.other')});
is(in_session(q{SELECT invoke_cron_endpoint('/status/200')}), '1000000', 'a changed default of id applies to the next call');
other_session(q{ALTER TABLE wee5_cron.invocation ALTER id SET DEFAULT nextval('wee5_cron.invocation_id_seq'); DROP SEQUENCE public.other});

# Indexes.
other_session(q{CREATE FUNCTION public.short(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT left($1, 5)'});
other_session('CREATE EXTENSION amcheck');
# Only the index is used, with a condition that only it can satisfy, for the row as the caller wrote it and as the worker
# left it: how many rows does it find, and by which plan?
sub found_by_index {
    my ($condition) = @_;
    # GIN and BRIN support only bitmap scans.
    my $bitmap = $condition =~ /\@>|finished_at/;
    my $settings = 'SET enable_seqscan = off; ' . ($bitmap ? 'SET enable_indexscan = off;' : 'SET enable_bitmapscan = off;');
    my $plan = other_session("$settings EXPLAIN (COSTS OFF) SELECT 1 FROM wee5_cron.invocation WHERE $condition");
    my $uses = $plan =~ /(?:Bitmap Index Scan on|Index (?:Only )?Scan using) mine/ ? 'mine' : $plan;
    return $uses . ' ' . other_session("$settings SELECT count(*) FROM wee5_cron.invocation WHERE $condition");
}
for my $case (
    [ '(endpoint_path)', "endpoint_path = 'PATH'" ],
    [ q{(lower(endpoint_path)) WHERE method = 'GET'}, "lower(endpoint_path) = 'PATH' AND method = 'GET'" ],
    [ '(public.short(endpoint_path), id)', "public.short(endpoint_path) = public.short('PATH') AND id = ID" ],
    [ q{USING gin (headers)}, q{headers @> '{"X-Found": "PATH"}'} ],
    [ q{USING gin ((array[status, endpoint_path]))}, q{array[status, endpoint_path] @> array['succeeded', 'PATH']} ],
    [ q{USING brin (finished_at) WITH (pages_per_range = 1)}, q{finished_at > TIME AND endpoint_path = 'PATH'} ],
    [ q{USING hash (idempotency_key)}, q{idempotency_key = KEY} ],
) {
    my ($index, $condition) = @$case;
    other_session("CREATE INDEX mine ON wee5_cron.invocation $index");
    my $before = other_session('SELECT quote_literal(clock_timestamp())');
    my $path = path();
    my $id = in_session(qq{SELECT wee5_cron.invoke('$path', headers => '{"X-Found": "$path"}')});
    my $row = $node->finished('postgres', $id);
    (my $asked = $condition) =~ s/PATH/$path/g;
    $asked =~ s/ID\b/$id/;
    $asked =~ s/TIME/$before/;
    $asked =~ s/KEY/'$row->{idempotency_key}'/;
    is(found_by_index($asked), 'mine 1', "a user's index $index finds the row that the worker has updated");
    other_session(q{SELECT bt_index_check('wee5_cron.mine', true)}) if $index !~ /USING/;
    other_session('DROP INDEX wee5_cron.mine');
}
other_session('CREATE UNIQUE INDEX mine ON wee5_cron.invocation (endpoint_path) WHERE finished_at IS NULL');
my $failing = path();
session_raises(<<"SQL", qr/23505/, "a user's unique index refuses the second row");
BEGIN;
SELECT invoke_cron_endpoint('$failing');
SELECT invoke_cron_endpoint('$failing');
COMMIT;
SQL
is(other_session("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$failing'"), 0, '... and its transaction leaves no row');
$path = path();
is(in_session(<<"SQL"), '10', 'PL/pgSQL can catch each refusal, and the calls before and after it remain');
CREATE TEMP TABLE ids (id bigint);
DO \$\$BEGIN
  FOR i IN 1..20 LOOP
    BEGIN
      INSERT INTO ids VALUES (invoke_cron_endpoint('$path' || i / 2));
    EXCEPTION WHEN unique_violation THEN NULL;
    END;
  END LOOP;
END\$\$;
SELECT count(*) - 1 FROM wee5_cron.invocation JOIN ids USING (id);
DROP TABLE ids;
SQL
other_session('DROP INDEX wee5_cron.mine');
is(goes_by_statement(), 'no', 'after errors a call still needs no statement');

# Row security: with FORCE, it applies to the function's owner, too.
other_session(q{CREATE ROLE keeper});
other_session(q{ALTER TABLE wee5_cron.invocation OWNER TO keeper; GRANT USAGE ON SCHEMA wee5_cron TO keeper; ALTER FUNCTION public.invoke_cron_endpoint(text) OWNER TO keeper;
    ALTER TABLE wee5_cron.invocation ENABLE ROW LEVEL SECURITY; ALTER TABLE wee5_cron.invocation FORCE ROW LEVEL SECURITY;
    CREATE POLICY fitting ON wee5_cron.invocation USING (true) WITH CHECK (endpoint_path <> '/hidden')});
session_raises(q{SELECT invoke_cron_endpoint('/hidden')}, qr/42501.*row-level security/, 'a row security policy on the ledger is respected');
other_session('ALTER TABLE wee5_cron.invocation NO FORCE ROW LEVEL SECURITY; ALTER TABLE wee5_cron.invocation DISABLE ROW LEVEL SECURITY; DROP POLICY fitting ON wee5_cron.invocation');
like(in_session(q{SELECT invoke_cron_endpoint('/status/200')}), qr/^\d+$/, '... and no longer after it is dropped');
other_session('REVOKE INSERT ON wee5_cron.invocation FROM keeper');
session_raises(q{SELECT invoke_cron_endpoint('/status/200')}, qr/42501.*permission denied for table/, 'without INSERT on the ledger its owner cannot make a call');
other_session('GRANT INSERT ON wee5_cron.invocation TO keeper; ALTER FUNCTION public.invoke_cron_endpoint(text) OWNER TO CURRENT_USER;
    ALTER TABLE wee5_cron.invocation OWNER TO CURRENT_USER');

# Transactions and savepoints.
$path = path();
in_session(<<"SQL");
BEGIN;
SELECT invoke_cron_endpoint('$path-1');
SAVEPOINT one;
SELECT invoke_cron_endpoint('$path-2');
ROLLBACK TO one;
SELECT invoke_cron_endpoint('$path-3');
SELECT 1 / 0;
ROLLBACK TO one;
SELECT invoke_cron_endpoint('$path-4');
COMMIT;
SQL
is(other_session("SELECT string_agg(right(endpoint_path, 2), '' ORDER BY id) FROM wee5_cron.invocation WHERE endpoint_path LIKE '$path-%'"),
    '-1-4', 'calls of a savepoint that is rolled back are gone, and those before and after it remain');

$path = path();
is(in_session(<<"SQL"), "2\n0\n5", 'a cursor makes its calls as it is read');
BEGIN;
DECLARE calls CURSOR FOR SELECT invoke_cron_endpoint('$path') FROM generate_series(1, 10);
FETCH 2 FROM calls \\g /dev/null
SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path';
TRUNCATE wee5_cron.attempt;
SELECT count(*) FROM wee5_cron.attempt;
FETCH 3 FROM calls \\g /dev/null
SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path';
COMMIT;
SQL

$path = path();
in_session(<<"SQL");
BEGIN;
SELECT invoke_cron_endpoint('$path');
TRUNCATE wee5_cron.invocation;
SELECT invoke_cron_endpoint('$path');
ALTER TABLE wee5_cron.invocation ADD later int DEFAULT 7;
SELECT invoke_cron_endpoint('$path');
ALTER TABLE wee5_cron.invocation DROP later;
SELECT invoke_cron_endpoint('$path');
COMMIT;
SQL
is(other_session("SELECT count(*), count(DISTINCT idempotency_key) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"),
    '3|3', 'calls of one transaction are written after TRUNCATE and ALTER TABLE between them');

$path = path();
in_session("BEGIN; SELECT invoke_cron_endpoint('$path'); PREPARE TRANSACTION 'calls'");
is(other_session("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"), 0, 'the row of a prepared call is not visible');
other_session("COMMIT PREPARED 'calls'");
$node->poll_query_until('postgres', "SELECT status = 'succeeded' FROM wee5_cron.invocation WHERE endpoint_path = '$path'")
  or die 'the prepared call was not sent';
pass('... and the call is sent when it is committed');

session_raises("BEGIN READ ONLY; SELECT invoke_cron_endpoint('/read-only'); COMMIT", qr/25006.*INSERT/, 'a read-only transaction cannot make a call');
session_raises("SET default_transaction_read_only = on; SELECT invoke_cron_endpoint('/read-only')", qr/25006.*INSERT/, 'a read-only session cannot make a call');
in_session('RESET default_transaction_read_only');

in_session('CREATE TEMP TABLE invocation (LIKE wee5_cron.invocation); CREATE SCHEMA decoy; CREATE TABLE decoy.invocation (LIKE wee5_cron.invocation)');
$path = path();
in_session("SET search_path = pg_temp, decoy, public; SELECT invoke_cron_endpoint('$path'); RESET search_path");
is(other_session("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"), 1, 'the search_path does not decide which table is the ledger');

in_session(q{SELECT invoke_cron_endpoint('/status/200')});
other_session('ALTER TABLE wee5_cron.invocation RENAME TO before; ALTER INDEX wee5_cron.invocation_open RENAME TO before_open;
    CREATE TABLE wee5_cron.invocation (LIKE wee5_cron.before INCLUDING ALL)');
$path = path();
in_session("SELECT invoke_cron_endpoint('$path')");
is(other_session("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"), 1, "a table that takes the ledger's name is the ledger from the next call on");
other_session('DROP TABLE wee5_cron.invocation; ALTER TABLE wee5_cron.before RENAME TO invocation; ALTER INDEX wee5_cron.before_open RENAME TO invocation_open');
$path = path();
in_session("SELECT invoke_cron_endpoint('$path')");
is(other_session("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"), 1, '... and the old one is again after it got its name back');

session_raises(<<'SQL', qr/3F000|42P01|55000/, 'a call in a schema that was renamed is an error');
BEGIN;
SELECT invoke_cron_endpoint('/status/200');
ALTER SCHEMA wee5_cron RENAME TO elsewhere;
SELECT invoke_cron_endpoint('/status/200');
ROLLBACK;
SQL

# Settings, read again in the middle of a transaction. The error about an invalid api_url shows the value.
my $bad = "ALTER DATABASE postgres SET app.settings.api_url = 'ftp://example.com'";
my $good = "ALTER DATABASE postgres SET app.settings.api_url = '@{[ $receiver->url ]}'";
for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE') {
    in_session("BEGIN ISOLATION LEVEL $level; SELECT invoke_cron_endpoint('/status/200'); SAVEPOINT one");
    other_session($bad);
    session_raises(q{SELECT invoke_cron_endpoint('/status/200')}, qr/55000.*ftp:/, "$level: a change that another session commits applies to the very next call");
    in_session('ROLLBACK TO one');
    other_session($good);
    like(in_session(q{SELECT invoke_cron_endpoint('/status/200')}), qr/^\d+$/, '... and so does the change back');
    in_session('COMMIT');
}
my ($during, $errors) = in_session(<<"SQL");
BEGIN;
SELECT invoke_cron_endpoint('/status/200') > 0;
SAVEPOINT one;
$bad;
SELECT invoke_cron_endpoint('/status/200') > 0;
ROLLBACK TO one;
SELECT invoke_cron_endpoint('/status/200') > 0;
$bad;
$good;
SELECT invoke_cron_endpoint('/status/200') > 0;
COMMIT;
SELECT invoke_cron_endpoint('/status/200') > 0;
SQL
is($during, "t\nt\nt\nt", 'a change in the calling transaction applies at once, and not after its rollback');
like($errors, qr/55000.*ftp:/, '... even to an invalid value');
$path = path();
session_raises("SELECT set_config('app.settings.api_url', 'ftp://session.example', true), invoke_cron_endpoint('$path')",
    qr/55000.*ftp:\/\/session|55000.*session only/, 'set_config() applies to a call in the same statement');

# A session that made its first call as one role goes on as another.
other_session("CREATE ROLE web LOGIN; ALTER ROLE web SET app.settings.api_url = 'ftp://web.example'; SELECT wee5_cron.grant_to('web', 'call')");
other_session("CREATE ROLE here LOGIN; ALTER ROLE here IN DATABASE postgres SET app.settings.api_url = 'ftp://here.example'; SELECT wee5_cron.grant_to('here', 'call')");

sub each_session_user_has_its_own {
    my ($size) = @_;
    session_raises(q{SET SESSION AUTHORIZATION web; SELECT invoke_cron_endpoint('/status/200')}, qr/55000.*web\.example/,
        "$size: a session that changes its session_user uses that role's settings");
    session_raises(q{RESET SESSION AUTHORIZATION; SET SESSION AUTHORIZATION here; SELECT invoke_cron_endpoint('/status/200')},
        qr/55000.*here\.example/, '... or those of the role in this database');
    like(in_session(q{RESET SESSION AUTHORIZATION; SELECT invoke_cron_endpoint('/status/200')}), qr/^\d+$/m, '... and after RESET those of the first role');
}
each_session_user_has_its_own('few settings');
# A table of many pages is read by its index.
other_session(q{DO $$BEGIN FOR i IN 1..200 LOOP
    EXECUTE format('CREATE ROLE filler_%s', i);
    EXECUTE format('ALTER ROLE filler_%s SET app.filler = %L', i, repeat('filler ', 100));
END LOOP; END$$});
cmp_ok(other_session("SELECT pg_relation_size('pg_db_role_setting') / 8192"), '>', 4, 'pg_db_role_setting has many pages now');
each_session_user_has_its_own('many settings');

# The armed mark is read again as well.
in_session("BEGIN; SELECT invoke_cron_endpoint('/status/200'); SAVEPOINT one");
other_session('DELETE FROM wee5_cron.armed');
session_raises(q{SELECT invoke_cron_endpoint('/status/200')}, qr/55000.*makes no calls/, 'a call is an error right after another session removes the mark');
in_session('ROLLBACK TO one');
other_session('SELECT wee5_cron.arm()');
like(in_session(q{SELECT invoke_cron_endpoint('/status/200')}), qr/^\d+$/, '... and is made again right after arm()');
for my $disarm ('DELETE FROM', 'TRUNCATE') {
    session_raises("$disarm wee5_cron.armed; SELECT invoke_cron_endpoint('/status/200')", qr/55000.*makes no calls/,
        "$disarm in the calling transaction applies at once");
    like(in_session(q{ROLLBACK TO one; SELECT invoke_cron_endpoint('/status/200')}), qr/^\d+$/, '... and no longer after its rollback');
}
in_session('COMMIT');

# DROP EXTENSION and CREATE EXTENSION while a session is open.
other_session('DROP EXTENSION wee5_cron; CREATE EXTENSION wee5_cron');
$path = path();
my $id = in_session("SELECT invoke_cron_endpoint('$path')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', endpoint_path => $path }, 'an open session makes calls after DROP EXTENSION and CREATE EXTENSION');

$session->quit;
$node->log_is_sane;
done_testing();
