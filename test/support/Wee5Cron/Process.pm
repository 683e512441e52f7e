# A helper process of a test: started with pipes, its address read from its first lines, killed with the test. It is
# killed at END, also after die, and ends by itself when the test's end of its standard input closes.
package Wee5Cron::Process;

use strict;
use warnings;

use POSIX ();
use Time::HiRes qw(usleep);

my %running;

# Wee5Cron::Process->start(command => [...], env => {...}, log => FILE, until => qr/.../): returns when a line of the
# output matched `until`.
sub start {
    my ($class, %params) = @_;
    pipe(my $stdin_read,  my $stdin_write)  or die "pipe: $!";
    pipe(my $stdout_read, my $stdout_write) or die "pipe: $!";

    my $pid = fork() // die "fork: $!";
    if ($pid == 0) {
        # Signals meant for the test's process group, such as Ctrl-C, reach it through END.
        POSIX::setpgid(0, 0);
        open(STDIN,  '<&', $stdin_read)   or POSIX::_exit(126);
        open(STDERR, '>>', $params{log})  or POSIX::_exit(126);
        POSIX::dup2(fileno($stdin_read),   0);
        POSIX::dup2(fileno($stdout_write), 1);
        POSIX::dup2(fileno(STDERR),        2);
        $ENV{$_} = $params{env}{$_} for keys %{ $params{env} // {} };
        POSIX::_exit(127) unless exec { $params{command}[0] } @{ $params{command} };
    }
    close $stdin_read;
    close $stdout_write;

    my $self = bless { pid => $pid, stdin => $stdin_write, stdout => $stdout_read, output => '' }, $class;
    $running{$pid} = $self;
    $self->_read_until($params{until}, "@{ $params{command} }");
    return $self;
}

sub _read_until {
    my ($self, $until, $what) = @_;
    local $SIG{ALRM} = sub { die "$what did not say in time that it listens: $self->{output}\n" };
    alarm 30;
    while ($self->{output} !~ $until) {
        my $read = sysread($self->{stdout}, $self->{output}, 4096, length $self->{output});
        die "$what ended at once: $self->{output}\n" unless $read;
    }
    alarm 0;
    return;
}

sub output {
    my ($self) = @_;
    return $self->{output};
}

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} // return;
    delete $running{$pid};
    local $?;
    kill 'KILL', $pid;
    waitpid $pid, 0;
    close $self->{stdin};
    close $self->{stdout};
    return;
}

END {
    $_->stop for values %running;
}

1;
