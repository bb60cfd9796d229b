// A program of the cluster, by client-go: it says what ../client.py says.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

type seen struct {
	Itself  string   `json:"itself"`
	User    string   `json:"user"`
	Pods    []string `json:"pods"`
	Watched string   `json:"watched"`
	Refused string   `json:"refused"`
}

func main() {
	log.SetFlags(0)
	said, err := look()
	if err != nil {
		log.Fatal(err)
	}
	json.NewEncoder(os.Stdout).Encode(said)
}

func look() (*seen, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	namespace, err := os.ReadFile(namespaceFile)
	if err != nil {
		return nil, err
	}
	itself, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	patience, done := context.WithTimeout(context.Background(), 20*time.Second)
	defer done()
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(
		patience, &authentication.SelfSubjectReview{}, meta.CreateOptions{})
	if err != nil {
		return nil, err
	}
	said := &seen{Itself: itself, User: review.Status.UserInfo.Username}
	found, err := client.CoreV1().Pods(string(namespace)).List(patience, meta.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, pod := range found.Items {
		said.Pods = append(said.Pods, pod.Name)
	}
	only := meta.ListOptions{FieldSelector: "metadata.name=" + itself}
	watching, err := client.CoreV1().Pods(string(namespace)).Watch(patience, only)
	if err != nil {
		return nil, err
	}
	defer watching.Stop()
	for event := range watching.ResultChan() {
		if pod, is := event.Object.(*core.Pod); is {
			said.Watched = pod.Name
			break
		}
	}
	_, err = client.CoreV1().Secrets(string(namespace)).List(patience, meta.ListOptions{})
	said.Refused = string(errors.ReasonForError(err))
	return said, nil
}
