# A program with a pipe to its standard input and one from its standard output.
package Wee5Cron::Pipes;

use strict;
use warnings;

use Exporter 'import';
use POSIX ();

our @EXPORT_OK = qw(start_with_pipes);

# start_with_pipes([name, argument...], program => PATH, with_errors => 1): returns { pid, input, output }. with_errors:
# standard error is in the output, too.
sub start_with_pipes {
    my ($command, %params) = @_;
    pipe(my $input_read, my $input)         or die "pipe: $!";
    pipe(my $output,     my $output_write)  or die "pipe: $!";
    # A child that is killed before it has become the program must not stop the test's servers.
    local $SIG{TERM} = 'DEFAULT';
    my $pid = fork() // die "fork: $!";
    if ($pid == 0) {
        POSIX::dup2(fileno($input_read),   0);
        POSIX::dup2(fileno($output_write), 1);
        POSIX::dup2(fileno($output_write), 2) if $params{with_errors};
        POSIX::_exit(127) unless exec { $params{program} } @$command;
    }
    close $input_read;
    close $output_write;
    return { pid => $pid, input => $input, output => $output };
}

1;
