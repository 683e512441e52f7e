# A network of its own for a test, with machines that can be cut off from each other. Needs no root: it is made of Linux
# namespaces, and vanishes with their last process.
#
#   use Wee5Cron::Network;                       # first: runs the whole test in the network, or skips it
#   my $network = Wee5Cron::Network->new;
#   my $machine = $network->machine('a');        # address: for the other machines; everybody reaches app_address
#   Wee5Cron::Process->start(command => $machine->command('etcd', ...), ...);
#   $machine->cut_off;                           # its messages to other machines vanish, and theirs to it
#
# Each machine has two interfaces: one to the other machines, and one to the test and the app, which cut_off() leaves alone.
package Wee5Cron::Network;

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);
use Wee5Cron::Process;

my @namespaces = qw(unshare --user --map-current-user --keep-caps --net --);
# The test itself, with the app, in both networks.
my %bridges = (lan => '10.91.0', cluster => '10.92.0');

# Runs before anything of the test does.
sub import {
    return if $ENV{WEE5_TEST_NETWORK};
    # A failover takes twenty seconds, and on a busy machine some times as long.
    $ENV{PG_TEST_TIMEOUT_DEFAULT} ||= 300;
    my $why = `@namespaces ip link add lan type bridge 2>&1`;
    if ($? != 0) {
        chomp $why;
        print "1..0 # SKIP nobody here may create a network: $why\n";
        exit 0;
    }
    $ENV{WEE5_TEST_NETWORK} = 1;
    exec @namespaces, $^X, (map { "-I$_" } grep { !ref } @INC), $0, @ARGV or die "unshare: $!";
}

my @machines;

sub new {
    my ($class) = @_;
    _ip('link set lo up');
    for my $bridge (sort keys %bridges) {
        _ip("link add $bridge type bridge");
        _ip("addr add $bridges{$bridge}.254/24 dev $bridge");
        _ip("link set $bridge up");
    }
    return bless {}, $class;
}

# Where the app of a test listens, so that every machine reaches it.
sub app_address { return "$bridges{lan}.254" }

sub machine {
    my ($self, $name) = @_;
    my $number = @machines + 1;
    # This process keeps the machine's namespace.
    my $keeper = Wee5Cron::Process->start(
        command => [ qw(unshare --net -- sh -c), 'echo ready; exec sleep infinity' ],
        log     => "$PostgreSQL::Test::Utils::log_path/network.log",
        until   => qr/ready/);
    my $machine = bless { name => $name, number => $number, keeper => $keeper, links => {} }, 'Wee5Cron::Network::Machine';
    push @machines, $machine;
    for my $bridge (sort keys %bridges) {
        my $link = $machine->{links}{$bridge} = "$name-$bridge";
        _ip("link add $link type veth peer name $bridge netns $keeper->{pid}");
        _ip("link set $link master $bridge up");
        _ip("addr add $bridges{$bridge}.$number/24 dev $bridge", $machine);
        _ip("link set $bridge up", $machine);
    }
    _ip('link set lo up', $machine);
    return $machine;
}

sub _ip {
    my ($arguments, $machine) = @_;
    my @in = $machine ? $machine->_enter : ();
    system(@in, 'ip', split / /, $arguments) == 0 or die "ip $arguments failed\n";
    return;
}

package Wee5Cron::Network::Machine;

sub _enter {
    my ($self) = @_;
    return ('nsenter', "--net=/proc/$self->{keeper}{pid}/ns/net", '--');
}

# The command as it runs on this machine. Its process may change nothing of the network.
sub command {
    my ($self, @command) = @_;
    return [ $self->_enter, qw(setpriv --inh-caps=-all --ambient-caps=-all --), @command ];
}

# For the other machines, and for the test and its app.
sub address     { my ($self) = @_; return "$bridges{cluster}.$self->{number}" }
sub app_address { my ($self) = @_; return "$bridges{lan}.$self->{number}" }

sub cut_off {
    my ($self) = @_;
    return Wee5Cron::Network::_ip("link set $self->{links}{cluster} nomaster");
}

sub connect_again {
    my ($self) = @_;
    return Wee5Cron::Network::_ip("link set $self->{links}{cluster} master cluster");
}

# The processes of the machine, besides the one that keeps it.
sub processes {
    my ($self) = @_;
    my $own = readlink "/proc/$self->{keeper}{pid}/ns/net";
    return grep { $_ != $self->{keeper}{pid} && (readlink("/proc/$_/ns/net") // '') eq $own } map { m{/(\d+)\z} } glob '/proc/[0-9]*';
}

# Sends a signal to all processes of the machine whose command line matches (all, if no pattern is given).
sub signal {
    my ($self, $signal, $pattern) = @_;
    for my $pid ($self->processes) {
        open my $file, '<', "/proc/$pid/cmdline" or next;
        my $command = join ' ', split /\0/, do { local $/; <$file> } // '';
        kill $signal, $pid if !defined $pattern || $command =~ $pattern;
    }
    return;
}

# Stops all processes, those included that begin meanwhile.
sub freeze {
    my ($self) = @_;
    $self->_until_none_is('running', sub { $self->signal('STOP'); grep { _state($_) !~ /[TZX]/ } $self->processes });
    return;
}

# R, S, D, T (stopped), Z or X, as in ps.
sub _state {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/stat" or return 'X';
    return (do { local $/; <$file> } // '') =~ /.*\) (\w)/s ? $1 : 'X';
}

sub _until_none_is {
    my ($self, $what, $processes) = @_;
    my $until = time + $PostgreSQL::Test::Utils::timeout_default;
    while (my @left = $processes->()) {
        die "of the machine $self->{name}, processes are still $what: @left\n" if time > $until;
        Time::HiRes::usleep(50_000);
    }
    return;
}

# As if somebody pulled the plug.
sub power_off {
    my ($self) = @_;
    $self->_until_none_is('there', sub { $self->signal('KILL'); $self->processes });
    return;
}

package Wee5Cron::Network;

END {
    local $?;
    $_->signal('KILL') for @machines;
}

1;
