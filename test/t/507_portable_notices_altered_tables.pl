# doctor() of the portable edition names what users have altered on its tables, and its hints undo that.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Doctor;
use Wee5Cron::Editions;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node     = Wee5Cron::PortableNode->start_new('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');
sub sql { return $node->safe_psql('postgres', $_[0]) }

sub call_succeeds {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is($node->finished('postgres', $node->call('postgres', '/x'))->{status}, 'succeeded', $name);
}

$doctor->green('ledger_tables', 'new tables', qr/^the tables are as wee5_cron made them$/);
is(sql(q{
    SELECT string_agg(format('%s.%s', c.relname, a.attname), ' ')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind = 'r'
      AND NOT EXISTS (SELECT FROM wee5_cron.table_layout() l
                      WHERE l.table_name = c.relname AND l.column_name = a.attname AND l.column_type = a.atttypid)}),
    '', 'table_layout() knows every column of every table');
is(sql('SELECT count(*) FROM wee5_cron.table_layout() l LEFT JOIN pg_attribute a ON a.attrelid = to_regclass($$wee5_cron.$$ || l.table_name) AND a.attname = l.column_name WHERE a.attname IS NULL'), 0, '... and no other');

# doctor() reports the change, and after its hint all is as before.
for (
    [ 'ALTER TABLE wee5_cron.attempt DROP dns_ms', 'error', qr/^wee5_cron\.attempt has no column "dns_ms"$/, 'a column is dropped' ],
    [ 'ALTER TABLE wee5_cron.invocation ALTER requested_by TYPE text', 'warning', qr/^column "requested_by" of wee5_cron\.invocation has type text instead of name$/, 'a column has another type' ],
    [ 'ALTER TABLE wee5_cron.trouble ALTER name TYPE varchar(2)', 'warning', qr/^column "name" of wee5_cron\.trouble has type character varying\(2\) instead of text$/, 'a limit to the length of a text' ],
    [ 'ALTER TABLE wee5_cron.setting ALTER set_at TYPE date', 'warning', qr/^column "set_at" of wee5_cron\.setting has type date instead of/, 'a column that only this edition has' ],
    [ 'DROP INDEX wee5_cron.invocation_open', 'warning', qr/^index wee5_cron\.invocation_open is missing$/, 'an index is dropped', 1 ],
    [ 'ALTER TABLE wee5_cron.claim DROP CONSTRAINT claim_pkey', 'warning', qr/^wee5_cron\.claim has no primary key on its column "idempotency_key"$/, 'a primary key is dropped', 1 ],
    [ 'ALTER TABLE wee5_cron.endpoint DISABLE TRIGGER check_endpoint', 'warning', qr/^wee5_cron\.endpoint has no working trigger "check_endpoint": no new policy is checked$/, 'a trigger of ours is off', 1 ],
    [ 'DROP TRIGGER check_endpoint ON wee5_cron.endpoint', 'warning', qr/no working trigger "check_endpoint"/, 'a trigger of ours is dropped', 1 ],
    [ 'ALTER TABLE wee5_cron.attempt SET UNLOGGED', 'warning', qr/^wee5_cron\.attempt is unlogged: a crash empties it$/, 'a table is unlogged', 1 ],
    [ 'ALTER SEQUENCE wee5_cron.invocation_id_seq SET UNLOGGED', 'warning', qr/^the sequence wee5_cron\.invocation_id_seq is unlogged: a crash resets it, and ids come again$/, 'ids that a crash would give again', 1 ],
    [ 'CREATE TABLE public.heir () INHERITS (wee5_cron.invocation)', 'warning', qr/^public\.heir inherits from wee5_cron\.invocation; its rows are not sent$/, 'a table inherits from ours', 1 ],
    [ 'REVOKE USAGE, UPDATE ON SEQUENCE wee5_cron.invocation_id_seq FROM postgres', 'error', qr/^the owner of wee5_cron may not use the sequence wee5_cron\.invocation_id_seq$/, 'the owner may not use the sequence of the ids' ],
    [ 'REVOKE DELETE ON wee5_cron.claim FROM postgres', 'error', qr/^the owner of wee5_cron may not read and write wee5_cron\.claim$/, 'the owner lacks a privilege' ],
    [ 'ALTER TABLE wee5_cron.endpoint ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', 'error', qr/^row-level security applies to the owner of wee5_cron on wee5_cron\.endpoint$/, 'forced row-level security' ],
    [ q{CREATE PUBLICATION p FOR TABLE wee5_cron.invocation WHERE (status = 'failed')}, 'error', qr/^publication "p" makes Postgres refuse UPDATE and DELETE on wee5_cron\.invocation: /, 'a publication with a row filter' ],
  )
{
    my ($ddl, $status, $detail, $name, $calls_go_on) = @$_;
    # Most hosts give the owner BYPASSRLS. Without it, the policies apply to him.
    $node->as_superuser('postgres', 'ALTER ROLE postgres NOBYPASSRLS') if $ddl =~ /ROW LEVEL/;
    sql($ddl);
    call_succeeds("$name: calls succeed") if $calls_go_on;
    $doctor->red_then_green('ledger_tables', $status, $detail, $name);
    call_succeeds('... and calls succeed afterwards');
}

# A function that runs with the rights of its owner is given to a role that lacks them.
$node->as_superuser('postgres', 'CREATE ROLE somebody; GRANT somebody TO postgres; ALTER FUNCTION wee5_cron.prune() OWNER TO somebody');
$doctor->red_then_green('namesakes', 'error', qr/^wee5_cron\.prune\(\) runs with the rights of role "somebody", which lacks those of "postgres", the owner of wee5_cron$/, 'a function of another owner');

# A table is renamed. The hint says what to restore.
sql('ALTER TABLE wee5_cron.claim RENAME TO claims');
like($doctor->red('ledger_tables', 'error', qr/^the table wee5_cron\.claim is missing$/, 'a table is renamed'), qr/^-- if you renamed/, '... with what to do');
sql('ALTER TABLE wee5_cron.claims RENAME TO claim');
$doctor->green('ledger_tables', 'the table has its name again');

# What a user adds, wee5_cron obeys.
sql(q{CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
    CREATE TRIGGER noted BEFORE UPDATE ON wee5_cron.invocation FOR EACH ROW EXECUTE FUNCTION public.note();
    ALTER TABLE wee5_cron.invocation ADD failed boolean GENERATED ALWAYS AS (status = 'failed') STORED});
$doctor->green('ledger_tables', "a user's trigger and column", qr/^wee5_cron can work with your changes: column "failed" of wee5_cron\.invocation is generated; wee5_cron\.invocation has the trigger "noted"$/);
call_succeeds('... and it can');

$node->log_is_sane;
done_testing();
