module github.com/capsicum-go/capsicum

go 1.26
