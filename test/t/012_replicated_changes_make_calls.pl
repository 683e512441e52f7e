# A trigger on the subscriber's side of logical replication makes calls. Each is sent when the process that applies the changes
# commits, however it does so: after the first copy of a table, for a plain transaction, for one that was prepared, even if the
# server was restarted since.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', init => { allows_streaming => 'logical' },
    conf => "max_prepared_transactions = 10\nlogical_decoding_work_mem = '64kB'\nwal_receiver_status_interval = '1h'");
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', 'CREATE TABLE orders (id text PRIMARY KEY); CREATE PUBLICATION orders FOR TABLE orders');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE orders (id text PRIMARY KEY);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM public.invoke_cron_endpoint('/' || TG_NAME || '/' || NEW.id); RETURN NULL; END $$;
CREATE TRIGGER always AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER replica AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER origin AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION tell();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell();
ALTER TABLE orders ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER replica, ENABLE ALWAYS TRIGGER deferred;
SQL
sub order { my ($sql) = @_; return $node->safe_psql('shop', $sql) }

# The three triggers that apply to replicated changes have called, each once. Nothing but the commit wakes the worker: the test
# looks at what the app got, and makes no call of its own.
sub are_told {
    my ($order, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $receiver->wait_for_requests("/$_/$order") for qw(always replica deferred);
    return is(join(' ', sort map { $_->{path} } $receiver->requests(qr{^/\w+/\Q$order\E$})), "/always/$order /deferred/$order /replica/$order", $name);
}

# The table as it is when the subscription begins.
order(q{INSERT INTO orders VALUES ('copied')});
sub subscribe {
    my ($name, $two_phase, $options) = @_;
    order("SELECT pg_create_logical_replication_slot('$name', 'pgoutput', false, $two_phase)");
    $options .= ', two_phase = true' if $two_phase eq 'true';
    $node->safe_psql('postgres', "CREATE SUBSCRIPTION $name CONNECTION '" . $node->connstr . " dbname=shop' PUBLICATION orders WITH (create_slot = false, slot_name = '$name', $options)");
    return;
}
subscribe('whole', 'false', 'streaming = on');
are_told('copied', 'the rows that a subscription begins with make calls');

# Plain transactions, one larger than the memory of the decoding, and savepoints.
order(q{INSERT INTO orders VALUES ('plain')});
are_told('plain', 'a replicated transaction makes calls');
order(q{BEGIN; INSERT INTO orders SELECT 'many-' || n FROM generate_series(1, 1000) n; SAVEPOINT s; INSERT INTO orders VALUES ('undone'); ROLLBACK TO s; COMMIT});
are_told('many-1000', '... and so does one that is streamed while it is in progress');
$node->wait_until_all_finished('postgres');
is($node->safe_psql('postgres', q{SELECT count(*), count(*) FILTER (WHERE status = 'succeeded' AND attempts = 1), count(*) FILTER (WHERE endpoint_path ~ '/(undone|origin)') FROM wee5_cron.invocation}),
    '3006|3006|0', 'every call was made once, and none of what was rolled back');

# Prepared transactions: from PostgreSQL 15 on.
$node->safe_psql('postgres', 'DROP SUBSCRIPTION whole');
if ($node->safe_psql('postgres', 'SHOW server_version_num') < 150000) {
    $node->log_is_sane;
    done_testing();
    exit 0;
}
subscribe('prepared', 'true', 'copy_data = false');
$node->poll_query_until('postgres', q{SELECT subtwophasestate = 'e' FROM pg_subscription}) or die 'two_phase was not enabled';
sub is_prepared {
    my ($count) = @_;
    return $node->poll_query_until('postgres', "SELECT count(*) = $count FROM pg_prepared_xacts WHERE database = 'postgres'");
}
sub sleeps {
    $node->poll_query_until('postgres', q{SELECT state = 'idle' AND in_flight = 0 FROM wee5_cron.worker WHERE datname = 'postgres'}) or die 'the worker is not idle';
    return;
}
for my $order (qw(first second)) {
    order("BEGIN; INSERT INTO orders VALUES ('$order'); PREPARE TRANSACTION '$order'");
    ok(is_prepared(1), 'the subscriber prepares the transaction, too');
    sleeps();
    is(scalar(() = $receiver->requests(qr{/$order$})), 0, '... and sends nothing yet');
    $node->restart_immediately if $order eq 'second';
    order("COMMIT PREPARED '$order'");
    are_told($order, '... until it is committed' . ($order eq 'second' ? ', even after a crash' : ''));
}
order("BEGIN; INSERT INTO orders VALUES ('discarded'); PREPARE TRANSACTION 'discarded'");
is_prepared(1);
order("ROLLBACK PREPARED 'discarded'; INSERT INTO orders VALUES ('last')");
is_prepared(0);
are_told('last', 'a transaction after one that was rolled back makes calls');
$node->wait_until_all_finished('postgres');
is(scalar(() = $receiver->requests(qr{/discarded$})), 0, '... and what was rolled back made none');
$node->safe_psql('postgres', 'DROP SUBSCRIPTION prepared');
$node->log_is_sane;
done_testing();
