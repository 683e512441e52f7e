# A call writes its row without a statement, but as INSERT would: what users add to the ledger applies to it, and so does
# the transaction. All in open sessions, which have to notice every change.
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

is(goes_by_statement(), 'no', 'a call of a ledger as the extension made it needs no statement, and honours a CHECK that a user adds');

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
is($rows, '2|1|2|1|t', 'a row is the same by statement and without: two ids in a row, two keys, all else alike');

is(in_session(<<'SQL'), "t\nt", 'it is visible to the next statement of its transaction, and counted for autovacuum');
BEGIN;
SELECT invoke_cron_endpoint('/counted') AS id \gset
SELECT count(*) = 1 FROM wee5_cron.invocation WHERE id = :id;
SELECT n_tup_ins >= 1 FROM pg_stat_xact_all_tables WHERE relid = 'wee5_cron.invocation'::regclass;
ROLLBACK;
SQL
session_raises("SELECT wee5_cron.wait_for(invoke_cron_endpoint('/own'), '1 s')", qr/55000/, 'waiting for it in its own statement is refused');
is(in_session(q{SELECT count(i.id) FROM invoke_cron_endpoint('/status/200') c LEFT JOIN wee5_cron.invocation i ON i.id = c}),
    '0', 'its own statement does not see it, as with INSERT');

# What users add to the ledger. Each case: the statement, and what a call has to show for it afterwards.
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
    is(noted($path), 1, "$what that another session adds is at work from the next call on");
    other_session($drop);
    $path = path();
    in_session("SELECT invoke_cron_endpoint('$path')");
    is(noted($path), 0, '... and gone with its drop');
    my $own = path();
    in_session("BEGIN; SELECT invoke_cron_endpoint('$path'); $add; SELECT invoke_cron_endpoint('$own'); $drop; COMMIT");
    is(noted($own), 1, '... also where the calling transaction adds it itself, between two calls');
}
is(goes_by_statement(), 'no', 'without them a call needs no statement again');

other_session(q{CREATE FUNCTION public.fine(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 <> ''/bad'''});
other_session('ALTER TABLE wee5_cron.invocation ADD CONSTRAINT fine CHECK (public.fine(endpoint_path))');
session_raises(q{SELECT invoke_cron_endpoint('/bad')}, qr/23514.*"fine"/, "a CHECK that calls a user's function is honoured");
like(in_session(q{SELECT invoke_cron_endpoint('/status/200')}), qr/^\d+$/, '... and lets others pass');
other_session(q{CREATE OR REPLACE FUNCTION public.fine(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 <> ''/worse'''});
session_raises(q{SELECT invoke_cron_endpoint('/worse')}, qr/23514.*"fine"/, '... as that function is now');
other_session('ALTER TABLE wee5_cron.invocation DROP CONSTRAINT fine');

other_session('ALTER TABLE wee5_cron.invocation ALTER url SET NOT NULL') if other_session('TRUNCATE wee5_cron.invocation; SELECT true') eq 't';
session_raises(q{SELECT invoke_cron_endpoint('/null')}, qr/23502.*"url"/, 'so is NOT NULL');
other_session('ALTER TABLE wee5_cron.invocation ALTER url DROP NOT NULL');

# Columns and defaults.
other_session(q{ALTER TABLE wee5_cron.invocation ADD tenant text NOT NULL DEFAULT current_setting('app.tenant', true)});
my $path = path();
in_session("SET app.tenant = 'first'; SELECT invoke_cron_endpoint('$path'); SET app.tenant = 'second'; SELECT invoke_cron_endpoint('$path')");
is(other_session("SELECT string_agg(tenant, ' ' ORDER BY id) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"),
    'first second', "a user's column has its default, as it is at each call");
is(goes_by_statement(), 'no', '... without a statement');
other_session('ALTER TABLE wee5_cron.invocation DROP tenant');
other_session('ALTER TABLE wee5_cron.invocation ADD route text GENERATED ALWAYS AS (upper(endpoint_path)) STORED');
$path = path();
in_session("SELECT invoke_cron_endpoint('$path')");
is(other_session("SELECT route FROM wee5_cron.invocation WHERE endpoint_path = '$path'"), uc $path, 'a generated column is generated');
other_session('ALTER TABLE wee5_cron.invocation DROP route');
$path = path();
in_session("SELECT invoke_cron_endpoint('$path')");
is(other_session("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"), 1, 'a dropped column is no trouble');
other_session(q{CREATE SEQUENCE public.other START 1000000; GRANT ALL ON SEQUENCE public.other TO PUBLIC;
    ALTER TABLE wee5_cron.invocation ALTER id SET DEFAULT nextval('public.other')});
is(in_session(q{SELECT invoke_cron_endpoint('/status/200')}), '1000000', 'the default of id is what it is now');
other_session(q{ALTER TABLE wee5_cron.invocation ALTER id SET DEFAULT nextval('wee5_cron.invocation_id_seq'); DROP SEQUENCE public.other});

# Indexes.
other_session(q{CREATE FUNCTION public.short(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT left($1, 5)'});
other_session('CREATE EXTENSION amcheck');
# Only the index is used, with a condition that only it can answer, for the row as the caller wrote it and as the worker
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
    is(found_by_index($asked), 'mine 1', "the index $index that a user adds finds the row that the worker has updated");
    other_session(q{SELECT bt_index_check('wee5_cron.mine', true)}) if $index !~ /USING/;
    other_session('DROP INDEX wee5_cron.mine');
}
other_session('CREATE UNIQUE INDEX mine ON wee5_cron.invocation (endpoint_path) WHERE finished_at IS NULL');
my $failing = path();
session_raises(<<"SQL", qr/23505/, 'a unique index refuses the second row');
BEGIN;
SELECT invoke_cron_endpoint('$failing');
SELECT invoke_cron_endpoint('$failing');
COMMIT;
SQL
is(other_session("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$failing'"), 0, '... and the transaction has left nothing');
$path = path();
is(in_session(<<"SQL"), '10', 'in PL/pgSQL each refusal is caught, and the calls before and after it stay');
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
is(goes_by_statement(), 'no', 'after errors a call needs no statement either');

# Row security: with FORCE, it applies to the function's owner, too.
other_session(q{CREATE ROLE keeper});
other_session(q{ALTER TABLE wee5_cron.invocation OWNER TO keeper; GRANT USAGE ON SCHEMA wee5_cron TO keeper; ALTER FUNCTION public.invoke_cron_endpoint(text) OWNER TO keeper;
    ALTER TABLE wee5_cron.invocation ENABLE ROW LEVEL SECURITY; ALTER TABLE wee5_cron.invocation FORCE ROW LEVEL SECURITY;
    CREATE POLICY fitting ON wee5_cron.invocation USING (true) WITH CHECK (endpoint_path <> '/hidden')});
session_raises(q{SELECT invoke_cron_endpoint('/hidden')}, qr/42501.*row-level security/, 'a policy on the ledger is honoured');
other_session('ALTER TABLE wee5_cron.invocation NO FORCE ROW LEVEL SECURITY; ALTER TABLE wee5_cron.invocation DISABLE ROW LEVEL SECURITY; DROP POLICY fitting ON wee5_cron.invocation');
like(in_session(q{SELECT invoke_cron_endpoint('/status/200')}), qr/^\d+$/, '... until it is gone');
other_session('REVOKE INSERT ON wee5_cron.invocation FROM keeper');
session_raises(q{SELECT invoke_cron_endpoint('/status/200')}, qr/42501.*permission denied for table/, 'an owner without INSERT cannot write it');
other_session('GRANT INSERT ON wee5_cron.invocation TO keeper; ALTER FUNCTION public.invoke_cron_endpoint(text) OWNER TO CURRENT_USER;
    ALTER TABLE wee5_cron.invocation OWNER TO CURRENT_USER');

# The transaction around it.
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
    '-1-4', 'calls of a savepoint that is rolled back are gone, those before and after it stay');

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
    '3|3', 'TRUNCATE and ALTER TABLE between calls of one transaction');

$path = path();
in_session("BEGIN; SELECT invoke_cron_endpoint('$path'); PREPARE TRANSACTION 'calls'");
is(other_session("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"), 0, 'a prepared call is not there');
other_session("COMMIT PREPARED 'calls'");
$node->poll_query_until('postgres', "SELECT status = 'succeeded' FROM wee5_cron.invocation WHERE endpoint_path = '$path'")
  or die 'the prepared call was not sent';
pass('... and sent when it is committed');

session_raises("BEGIN READ ONLY; SELECT invoke_cron_endpoint('/read-only'); COMMIT", qr/25006.*INSERT/, 'a read-only transaction makes no call');
session_raises("SET default_transaction_read_only = on; SELECT invoke_cron_endpoint('/read-only')", qr/25006.*INSERT/, '... nor does a session that is read-only');
in_session('RESET default_transaction_read_only');

in_session('CREATE TEMP TABLE invocation (LIKE wee5_cron.invocation); CREATE SCHEMA decoy; CREATE TABLE decoy.invocation (LIKE wee5_cron.invocation)');
$path = path();
in_session("SET search_path = pg_temp, decoy, public; SELECT invoke_cron_endpoint('$path'); RESET search_path");
is(other_session("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"), 1, 'the search_path does not say which table it is');

in_session(q{SELECT invoke_cron_endpoint('/status/200')});
other_session('ALTER TABLE wee5_cron.invocation RENAME TO before; ALTER INDEX wee5_cron.invocation_open RENAME TO before_open;
    CREATE TABLE wee5_cron.invocation (LIKE wee5_cron.before INCLUDING ALL)');
$path = path();
in_session("SELECT invoke_cron_endpoint('$path')");
is(other_session("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"), 1, 'a table put in its place is the ledger from the next call on');
other_session('DROP TABLE wee5_cron.invocation; ALTER TABLE wee5_cron.before RENAME TO invocation; ALTER INDEX wee5_cron.before_open RENAME TO invocation_open');
$path = path();
in_session("SELECT invoke_cron_endpoint('$path')");
is(other_session("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path'"), 1, '... the old one after it came back');

session_raises(<<'SQL', qr/3F000|42P01|55000/, 'nor does it follow a schema that gets another name');
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
    session_raises(q{SELECT invoke_cron_endpoint('/status/200')}, qr/55000.*ftp:/, "$level: a change that another session commits counts for the very next call");
    in_session('ROLLBACK TO one');
    other_session($good);
    like(in_session(q{SELECT invoke_cron_endpoint('/status/200')}), qr/^\d+$/, '... and so does the next one');
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
is($during, "t\nt\nt\nt", 'a change of the transaction itself counts at once, and no longer than it lasts');
like($errors, qr/55000.*ftp:/, '... the bad one, too');
$path = path();
session_raises("SELECT set_config('app.settings.api_url', 'ftp://session.example', true), invoke_cron_endpoint('$path')",
    qr/55000.*ftp:\/\/session|55000.*session only/, 'set_config in the same statement counts for it');

# A session that made its first call as one role goes on as another.
other_session("CREATE ROLE web LOGIN; ALTER ROLE web SET app.settings.api_url = 'ftp://web.example'; SELECT wee5_cron.grant_to('web', 'call')");
other_session("CREATE ROLE here LOGIN; ALTER ROLE here IN DATABASE postgres SET app.settings.api_url = 'ftp://here.example'; SELECT wee5_cron.grant_to('here', 'call')");

sub each_session_user_has_its_own {
    my ($size) = @_;
    session_raises(q{SET SESSION AUTHORIZATION web; SELECT invoke_cron_endpoint('/status/200')}, qr/55000.*web\.example/,
        "$size: another session_user has that role's settings");
    session_raises(q{RESET SESSION AUTHORIZATION; SET SESSION AUTHORIZATION here; SELECT invoke_cron_endpoint('/status/200')},
        qr/55000.*here\.example/, '... or those of the role in this database');
    like(in_session(q{RESET SESSION AUTHORIZATION; SELECT invoke_cron_endpoint('/status/200')}), qr/^\d+$/m, '... and the first one its own');
}
each_session_user_has_its_own('few settings');
# A table of many pages is read by its index.
other_session(q{DO $$BEGIN FOR i IN 1..200 LOOP
    EXECUTE format('CREATE ROLE filler_%s', i);
    EXECUTE format('ALTER ROLE filler_%s SET app.filler = %L', i, repeat('filler ', 100));
END LOOP; END$$});
cmp_ok(other_session("SELECT pg_relation_size('pg_db_role_setting') / 8192"), '>', 4, 'pg_db_role_setting has many pages now');
each_session_user_has_its_own('many settings');

# The armed mark, read again as well.
in_session("BEGIN; SELECT invoke_cron_endpoint('/status/200'); SAVEPOINT one");
other_session('DELETE FROM wee5_cron.armed');
session_raises(q{SELECT invoke_cron_endpoint('/status/200')}, qr/55000.*makes no calls/, 'a mark that another session takes away counts for the very next call');
in_session('ROLLBACK TO one');
other_session('SELECT wee5_cron.arm()');
like(in_session(q{SELECT invoke_cron_endpoint('/status/200')}), qr/^\d+$/, '... and so does its return');
for my $disarm ('DELETE FROM', 'TRUNCATE') {
    session_raises("$disarm wee5_cron.armed; SELECT invoke_cron_endpoint('/status/200')", qr/55000.*makes no calls/,
        "$disarm of the transaction itself counts at once");
    like(in_session(q{ROLLBACK TO one; SELECT invoke_cron_endpoint('/status/200')}), qr/^\d+$/, '... until it is rolled back');
}
in_session('COMMIT');

# DROP EXTENSION and CREATE EXTENSION under an open session.
other_session('DROP EXTENSION wee5_cron; CREATE EXTENSION wee5_cron');
$path = path();
my $id = in_session("SELECT invoke_cron_endpoint('$path')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', endpoint_path => $path }, 'it goes on with an extension that was made anew');

$session->quit;
$node->log_is_sane;
done_testing();
